/**
 * Each system call by which a conversion reads or keeps something fails once, and the process is killed at each one that
 * keeps something. No tag names a manifest that does not exist, the error names the cause, nothing is left, and the next run makes
 * what an undisturbed one makes.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { accel, convert, requireBuild } from '../support/accel.ts';
import { blobPath, readImages, readTags } from '../support/oci-layout.ts';
import { accelWithFault, type CallFault, type FaultyRun } from '../support/system-calls.ts';
import { describeWith, run, type TempDirectory, tempDirectory, withTempDirectory } from '../support/tools.ts';
import { noisyLayers } from './noisy-image.ts';

/** More calls of a kind than a conversion of the small image makes; a test that gets there has found no end. */
const MOST = 150;

/** ACCEL_EVERY_CALL=1: all calls are hit (some ten minutes), not one of so many where there are many of a kind. */
const EVERY_CALL = process.env.ACCEL_EVERY_CALL === '1';

let home: TempDirectory;
let layout: string;

beforeAll(async () => {
  await requireBuild();
  home = await tempDirectory();
  layout = join(home.path, 'layout');
  await buildLayout(layout, 'latest', noisyLayers(2, 30_000));
});
afterAll(() => home?.remove());

/** Where a run keeps things. */
interface Place {
  readonly scratch: string;
  /** The directory of the result. */
  readonly out: string;
}

/** A fresh place. */
const inPlace = <T>(body: (place: Place) => Promise<T>): Promise<T> =>
  withTempDirectory(async (directory) => {
    const place = { scratch: join(directory, 'scratch'), out: join(directory, 'out') };
    await Promise.all([mkdir(place.scratch), mkdir(place.out)]);
    return body(place);
  });

/** A target of a conversion: its name for accel, and a way to examine it with other tools. */
const TARGETS = {
  // Without -o: both tags from one pass.
  oci: { args: ({ out }: Place) => ['--target-repository', `oci:${out}/t`], look: ({ out }: Place) => join(out, 't') },
  'oci-archive': {
    args: ({ out }: Place) => ['--target-repository', `oci-archive:${out}/t.tar`, '-o', 'latest_obd'],
    async look({ out }: Place): Promise<string> {
      const unpacked = join(out, 'unpacked');
      await mkdir(unpacked, { recursive: true });
      if (await isThere(join(out, 't.tar'))) await run('tar', ['-xf', join(out, 't.tar'), '-C', unpacked]);
      return unpacked;
    },
  },
} as const;
type TargetKind = keyof typeof TARGETS;

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const argsOf = (kind: TargetKind, place: Place): string[] => [
  ...['-r', `oci:${layout}`, '-i', 'latest', '-d', place.scratch, '--workers', '1'],
  ...TARGETS[kind].args(place),
];

/** The digest of each tag of images, after everything there was checked: blobs by their hash, tags by what they name. */
async function soundTags(kind: TargetKind, place: Place): Promise<ReadonlyMap<string, string>> {
  const directory = await TARGETS[kind].look(place);
  if (!(await isThere(join(directory, 'index.json')))) return new Map();
  for (const name of (await readdir(join(directory, 'blobs/sha256'))).filter((one) => !one.startsWith('.'))) {
    const bytes = await readFile(join(directory, 'blobs/sha256', name));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(name);
  }
  const tags = new Map<string, string>();
  for (const [tag, { digest }] of await readTags(directory)) {
    for (const { manifest } of await readImages(directory, tag)) {
      for (const layer of manifest.layers)
        expect((await stat(blobPath(directory, layer.digest))).size).toBe(layer.size);
    }
    if (tag !== 'accel-cache') tags.set(tag, digest);
  }
  return tags;
}

/** Temporary files that are left somewhere. */
async function leftIn({ scratch, out }: Place): Promise<string[]> {
  const names = await readdir(out, { recursive: true });
  return [...(await readdir(scratch)), ...names.filter((name) => /(^|\/)\.accel-/.test(name))];
}

/** The calls that are hit, and the fault of each. */
interface Faults {
  readonly call: string;
  readonly fault: CallFault;
  /** The first that is, by number; 1 by default. */
  readonly from?: number;
  /** Not each one, but one of so many, unless {@link EVERY_CALL}. */
  readonly oneOf?: number;
  /** There are at least so many. */
  readonly least: number;
}

/** Runs with a fault at the first call, the second, … until there are no more, each in a fresh place. */
async function atEachCall(
  kind: TargetKind,
  { least, from = 1, oneOf = 1, ...fault }: Faults,
  claim: (result: FaultyRun, place: Place) => Promise<void>,
): Promise<void> {
  for (let nth = from; nth <= MOST; nth += EVERY_CALL ? 1 : oneOf) {
    const isLast = await inPlace(async (place) => {
      const result = await accelWithFault(['convert', ...argsOf(kind, place)], { ...fault, nth });
      try {
        await claim(result, place);
      } catch (error) {
        throw new Error(`${fault.fault} at call ${nth}: ${result.hits.join('; ')}\n${result.stderr}`, { cause: error });
      }
      return result.hits.length === 0;
    });
    if (isLast) {
      expect(nth - from).toBeGreaterThanOrEqual(least);
      return;
    }
  }
  throw new Error(`more than ${MOST} calls`);
}

describeWith({ tools: ['strace', 'tar', 'bash'] }, 'system calls', () => {
  const undisturbed = new Map<TargetKind, ReadonlyMap<string, string>>();
  beforeAll(async () => {
    for (const kind of ['oci', 'oci-archive'] as const) {
      await inPlace(async (place) => {
        await convert(argsOf(kind, place));
        undisturbed.set(kind, await soundTags(kind, place));
      });
    }
    expect([...undisturbed.get('oci')!.keys()]).toEqual(['latest_accelerated', 'latest_containerd_accelerated']);
    expect([...undisturbed.get('oci-archive')!.keys()]).toEqual(['latest_obd']);
  });

  test.each<[TargetKind, string, CallFault, number, number]>([
    ['oci', 'pwrite64', 'EIO', 20, 4],
    ['oci', 'rename', 'EIO', 10, 2],
    ['oci', 'chmod', 'EIO', 2, 1],
    ['oci', 'mkdir', 'ENOSPC', 6, 6],
    ['oci-archive', 'pwrite64', 'ENOSPC', 20, 3],
    ['oci-archive', 'rename', 'EIO', 1, 1],
    ['oci-archive', 'ftruncate', 'EIO', 1, 1],
  ])(
    '%s: each %s fails with %s',
    async (kind, call, fault, least, oneOf) => {
      await atEachCall(kind, { call, fault, least, oneOf }, async ({ exitCode, stderr }, place) => {
        expect(await leftIn(place)).toEqual([]);
        expect(stderr).not.toMatch(/\n\s+at /);
        const tags = await soundTags(kind, place);
        // Some calls may fail: an existing folder need not be made, and the record of layers only saves time.
        if (exitCode === 0) {
          expect(tags).toEqual(undisturbed.get(kind));
          return;
        }
        expect(exitCode).toBe(1);
        expect(stderr).toMatch(/^error \[io-error\] /m);
        expect(stderr).toMatch(/^ {2}path +\//m);
        expect(stderr.includes('Make room there')).toBe(fault === 'ENOSPC' && call === 'pwrite64');
        // A tag is reported as tagged if and only if it exists.
        const told = [...stderr.matchAll(/^tagged (\S+)/gm)].map(([, tag]) => tag);
        expect(told.sort()).toEqual([...tags.keys()].sort());
      });
    },
    600_000,
  );

  test.each<[TargetKind, string, number, number]>([
    ['oci', 'rename', 10, 2],
    ['oci', 'pwrite64', 20, 8],
    ['oci-archive', 'rename', 1, 1],
  ])(
    '%s: SIGTERM at each %s',
    async (kind, call, least, oneOf) => {
      await atEachCall(kind, { call, fault: 'SIGTERM', least, oneOf }, async ({ exitCode, stderr }, place) => {
        expect(await leftIn(place)).toEqual([]);
        const tags = await soundTags(kind, place);
        if (exitCode === 0) {
          expect(tags).toEqual(undisturbed.get(kind));
          return;
        }
        expect(exitCode).toBe(130);
        const said = [...stderr.matchAll(/^tagged (\S+)/gm)].map(([, tag]) => tag);
        expect(said.sort()).toEqual([...tags.keys()].sort());
      });
    },
    600_000,
  );

  // The first two are the dynamic linker's. Node's own modules are read by another thread, some at the same number.
  test.each<[TargetKind, number, number]>([
    ['oci', 20, 3],
    ['oci-archive', 10, 2],
  ])(
    '%s: each pread64 fails with EIO',
    async (kind, least, oneOf) => {
      await atEachCall(kind, { call: 'pread64', fault: 'EIO', from: 3, least, oneOf }, async (result, place) => {
        const { exitCode, stderr, hits } = result;
        expect(await leftIn(place)).toEqual([]);
        const tags = await soundTags(kind, place);
        expect(exitCode === 0 ? tags : exitCode).toEqual(exitCode === 0 ? undisturbed.get(kind) : 1);
        // Node itself reads there which kind of modules the program has, and says so in its own way.
        if (exitCode === 0 || hits.some((hit) => hit.includes('package.json'))) return;
        expect(stderr).not.toMatch(/\n\s+at /);
        expect(stderr).toMatch(/^error \[io-error\] EIO/m);
        expect(stderr).toMatch(/^ {2}path +\//m);
      });
    },
    600_000,
  );

  test('a folder of temporary files that cannot be removed is a warning: the result is kept', async () => {
    await inPlace(async (place) => {
      const fault = { call: 'rmdir', fault: 'EIO', nth: 1 } as const;
      const { exitCode, stderr, hits } = await accelWithFault(['convert', ...argsOf('oci', place)], fault);
      expect(hits).toHaveLength(1);
      expect(exitCode, stderr).toBe(0);
      expect(stderr).toMatch(/^warning: temporary files were left; the next run there removes them: EIO/m);
      expect(await soundTags('oci', place)).toEqual(undisturbed.get('oci'));
      expect(await leftIn(place)).toHaveLength(1);
      await convert(argsOf('oci', place));
      expect(await leftIn(place)).toEqual([]);
    });
  });

  test('a list of files to prefetch that cannot be written leaves the old one as it was', async () => {
    await inPlace(async (place) => {
      await convert(argsOf('oci', place));
      const list = join(place.out, 'list');
      const args = ['prefetch', 'record', `oci:${place.out}/t:latest_accelerated`, '-o', list];
      const from = ['--no-config', '--from', list];
      await writeFile(list, '/layer-1000/text\n', { mode: 0o600 });
      const fault = { call: 'pwrite64', fault: 'ENOSPC', nth: 1 } as const;
      const { exitCode, stderr, hits } = await accelWithFault([...args, ...from], fault);
      expect(hits).toHaveLength(1);
      expect(exitCode, stderr).toBe(1);
      expect(stderr).toContain(`path      ${list}`);
      expect(await readFile(list, 'utf8')).toBe('/layer-1000/text\n');
      expect(await leftIn(place)).toEqual([]);
      expect((await accelWithFault([...args, ...from], { ...fault, nth: 2 })).exitCode).toBe(0);
      expect(await readFile(list, 'utf8')).toContain('/layer-1000/text');
      expect((await stat(list)).mode & 0o777).toBe(0o600);
      const missing = join(place.out, 'missing/list');
      expect((await accel([...args.slice(0, -1), missing, ...from])).stderr).toContain('ENOENT');
    });
  });

  test.each<[TargetKind, string, number, number]>([
    ['oci', 'pwrite64', 20, 8],
    ['oci', 'rename', 10, 3],
    ['oci-archive', 'pwrite64', 20, 8],
    ['oci-archive', 'rename', 1, 1],
  ])(
    '%s: killed at each %s',
    async (kind, call, least, oneOf) => {
      await atEachCall(kind, { call, fault: 'SIGKILL', least, oneOf }, async ({ exitCode, hits }, place) => {
        expect(exitCode).toBe(hits.length === 0 ? 0 : 137);
        const standing = await soundTags(kind, place);
        for (const [tag, digest] of standing) expect(undisturbed.get(kind)!.get(tag)).toBe(digest);
        await convert(argsOf(kind, place));
        expect(await leftIn(place)).toEqual([]);
        expect(await soundTags(kind, place)).toEqual(undisturbed.get(kind));
      });
    },
    600_000,
  );
});
