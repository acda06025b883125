/** Memory of the whole process on layers of many small entries, and its bounds: real runs of the built command line. */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { ACCEL, requireBuild } from '../support/accel.ts';
import { run, type TempDirectory, tempDirectory } from '../support/tools.ts';

const DIRECTORIES = 40_000;
const FILES = 60_000;
/** Names in a directory. */
const GROUP = 1000;

/** MiB. */
const VERIFY_PEAK = 300;

/** Prints the peak resident memory of the process in MiB as it ends. */
const REPORT =
  'data:text/javascript,process.on("exit",()=>' +
  'process.stderr.write("peak="+Math.ceil(process.resourceUsage().maxRSS/1024)+"\\n"))';

interface Measured {
  readonly exitCode: number;
  readonly stderr: string;
  /** MiB. */
  readonly peak: number;
}

let directory: TempDirectory;
beforeAll(async () => {
  await requireBuild();
  directory = await tempDirectory('accel-many-entries-');
  const directories = new TarBuilder();
  for (let i = 0; i < DIRECTORIES; i++) directories.dir(`d${Math.floor(i / GROUP)}/${i}/`);
  const files = new TarBuilder();
  for (let i = 0; i < FILES; i++) files.file(`f${Math.floor(i / GROUP)}/${i}`, `content ${i}`);
  await buildLayout(layout(), 'app', [{ tar: directories.build() }, { tar: files.build() }]);
  return () => directory.remove();
});

const layout = (): string => join(directory.path, 'layout');

async function accel(node: readonly string[], ...args: readonly string[]): Promise<Measured> {
  const { stderr, exitCode } = await run(process.execPath, [...node, '--import', REPORT, ACCEL, ...args], {
    accept: 'any',
    env: { TMPDIR: directory.path, DOCKER_CONFIG: directory.path, NO_COLOR: '1' },
  });
  return { stderr, exitCode, peak: Number(/peak=(\d+)/.exec(stderr)?.[1]) };
}

/** Symlinks with texts of 4,000 bytes: copies of one entry under names of seven characters. */
function longSymlinks(count: number): Uint8Array {
  const END = 1024;
  const one = new TarBuilder().symlink('s000000', 'x'.repeat(4000)).build();
  const entry = one.subarray(0, one.length - END);
  const all = Buffer.alloc(entry.length * count + END);
  for (let i = 0; i < count; i++) {
    const at = i * entry.length;
    all.set(entry, at);
    const header = all.subarray(at + entry.length - 512, at + entry.length);
    header.write(`s${String(i).padStart(6, '0')}`, 0, 'latin1');
    header.fill(' ', 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return all;
}

/** A tar of so many small files or directories, a thousand to a directory: copies of one header. */
function manyEntries(kind: 'file' | 'directory', count: number): Uint8Array {
  const name = (i: number): string =>
    `d${String(Math.floor(i / GROUP)).padStart(4, '0')}/e${String(i).padStart(6, '0')}`;
  const one = kind === 'file' ? new TarBuilder().file(name(0), 'content') : new TarBuilder().dir(`${name(0)}/`);
  const bytes = one.build();
  const entry = bytes.subarray(0, kind === 'file' ? 1024 : 512);
  const all = Buffer.alloc(entry.length * count + 1024);
  for (let i = 0; i < count; i++) {
    const at = i * entry.length;
    all.set(entry, at);
    all.write(name(i), at, 'latin1');
    all.fill(' ', at + 148, at + 156);
    let sum = 0;
    for (let k = at; k < at + 512; k++) sum += all[k]!;
    all.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  }
  return all;
}

describe('100,000 entries', () => {
  it('take little memory to convert, and to verify', { timeout: 180_000 }, async () => {
    const converted = await accel([], 'convert', '-r', `oci:${layout()}`, '-i', 'app', '--workers', '1', '--no-cache');
    expect(converted).toMatchObject({ exitCode: 0 });
    // When inodes and names were objects, 60,000 directories alone took 489 MiB.
    expect(converted.peak).toBeLessThan(280);
    for (const tag of ['app_accelerated', 'app_containerd_accelerated']) {
      const verified = await accel([], 'verify', `oci:${layout()}:${tag}`);
      expect(verified).toMatchObject({ exitCode: 0 });
      // With entries and nodes as objects 60,000 files took 379 MiB.
      expect(verified.peak, tag).toBeLessThan(VERIFY_PEAK);
    }
  });

  // Some three minutes: by hand, with ACCEL_MILLION_ENTRIES=1.
  it.runIf(process.env.ACCEL_MILLION_ENTRIES === '1')(
    'ten times as many files, and as many directories, take 400 MiB',
    { timeout: 900_000 },
    async () => {
      for (const kind of ['file', 'directory'] as const) {
        const place = join(directory.path, kind);
        await buildLayout(place, 'app', [{ tar: manyEntries(kind, 999_000) }]);
        const runs = [
          ['convert', '-r', `oci:${place}`, '-i', 'app', '--workers', '1', '--no-cache'],
          ['verify', `oci:${place}:app_accelerated`],
          ['verify', `oci:${place}:app_containerd_accelerated`],
        ];
        for (const args of runs) {
          const { exitCode, peak } = await accel([], ...args);
          expect({ args, exitCode, peak }).toMatchObject({ exitCode: 0 });
          expect(peak, args.join(' ')).toBeLessThan(400);
        }
      }
    },
  );

  it('end a verification whose heap does not hold them, with the way out', async () => {
    const source = ['verify', `oci:${layout()}:app_accelerated`, '--quick'];
    const { exitCode, stderr } = await accel(['--max-old-space-size=24'], ...source);
    expect(exitCode).toBe(3);
    expect(stderr).toContain('[limit-exceeded] the entries of the layers need more memory than Node may use');
    expect(stderr).toMatch(/expected +at most \d+ entries, for a heap of \d+ MiB/);
    expect(stderr).toMatch(/found +more than \d+/);
    expect(stderr).toContain('NODE_OPTIONS=--max-old-space-size');
  });
});

it('metadata past half of --max-memory ends a conversion, with the way out', async () => {
  const place = join(directory.path, 'links');
  await buildLayout(place, 'app', [{ tar: longSymlinks(38_000), compression: 'none' }]);
  const { exitCode, stderr, peak } = await accel(
    [],
    ...['convert', '-r', `oci:${place}`, '-i', 'app', '--mode', 'full', '--max-memory', '288M', '--no-cache'],
  );
  expect(exitCode).toBe(3);
  expect(stderr).toContain('[limit-exceeded] the names and attributes of the image need more memory than allowed');
  expect(stderr).toMatch(/expected +at most 144 MiB \(half of the memory limit\)/);
  expect(stderr).toMatch(/found +more than 1\d\d MiB/);
  expect(stderr).toContain('raise --max-memory');
  expect(peak).toBeLessThan(400);
});
