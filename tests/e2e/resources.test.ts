/**
 * A machine that runs out of something in the middle of a conversion: disk, file size, file descriptors, a thread; and a
 * clock that jumps. Nothing is tagged, the error says what it was, nothing is left, and the next run is fine.
 */
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { ACCEL, accel, convert, requireBuild } from '../support/accel.ts';
import { threadedTar } from '../support/converter.ts';
import { readTags } from '../support/oci-layout.ts';
import { describeWith, run, type TempDirectory, tempDirectory, withTempDirectory } from '../support/tools.ts';
import { noisyLayers } from './noisy-image.ts';

/** About this much is spooled for the image: two layers, a third of it noise. */
const LAYER_SIZE = 3_000_000;

let home: TempDirectory;
let layout: string;

beforeAll(async () => {
  await requireBuild();
  home = await tempDirectory();
  layout = join(home.path, 'layout');
  // The second is the larger one, so that a limit can hit it alone.
  await buildLayout(layout, 'latest', [noisyLayers(1, LAYER_SIZE)[0]!, noisyLayers(2, LAYER_SIZE * 1.5)[1]!]);
});
afterAll(() => home?.remove());

/** The arguments of a conversion out of the layout; its spool goes to `scratch`. */
const args = (scratch: string, target: string, form: 'oci' | 'oci-archive' = 'oci'): string[] => [
  ...['convert', '-r', `oci:${layout}`, '-i', 'latest', '-o', 'obd'],
  ...['--target-repository', `${form}:${target}`, '-d', scratch],
];

/** The usual claims about a run that failed, then that the next one is fine. */
async function expectCleanFailure(
  result: { readonly exitCode: number; readonly stderr: string },
  says: RegExp,
  { scratch, target }: { readonly scratch: string; readonly target: string },
): Promise<void> {
  expect(result.stderr).toMatch(says);
  expect(result.stderr).not.toMatch(/\n\s+at .*\.js:/);
  expect(result.exitCode).toBe(1);
  expect(await readdir(scratch)).toEqual([]);
  expect(await tagsOf(target)).toEqual([]);
  const blobs = await readdir(join(target, 'blobs/sha256')).catch(() => []);
  expect(blobs.filter((name) => name.startsWith('.'))).toEqual([]);
}

async function tagsOf(target: string): Promise<string[]> {
  const there = await stat(join(target, 'index.json')).then(
    () => true,
    () => false,
  );
  return there ? [...(await readTags(target)).keys()] : [];
}

/** A fresh folder for the spool and one for the result. */
async function places<T>(body: (place: { scratch: string; target: string }) => Promise<T>): Promise<T> {
  return withTempDirectory(async (directory) => {
    const scratch = join(directory, 'scratch');
    await mkdir(scratch);
    return body({ scratch, target: join(directory, 'target') });
  });
}

/** Runs accel through a shell that sets a limit first. */
const limited = (limit: string, line: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  run('bash', ['-c', `ulimit ${limit} && exec "$0" "$@"`, process.execPath, ACCEL, ...line], {
    accept: 'any',
    env: { NO_COLOR: '1', ...env },
  });

describeWith({ tools: ['bash'] }, 'limits of the process', () => {
  // Each step lets a little more through: the failure comes in the spool, in a layer, in the next one.
  test.each([0, 64, 600, 1600])('no file may grow past %i KiB', async (kib) => {
    await places(async (place) => {
      const result = await limited(`-f ${kib}`, args(place.scratch, place.target));
      await expectCleanFailure(result, /\[io-error\].*(EFBIG|file too large)/i, place);
    });
  });

  test('the run after them is fine', async () => {
    await places(async ({ scratch, target }) => {
      await convert(args(scratch, target).slice(1));
      expect(await tagsOf(target)).toContain('obd');
      expect(await readdir(scratch)).toEqual([]);
    });
  });

  test('no file descriptor is left once the folder for the spool exists', async () => {
    await places(async (place) => {
      // Not a limit so low that Node hardly starts: how many it needs itself changes with its version.
      const option = await disturbance(
        `import { openSync } from 'node:fs';
         import promises from 'node:fs/promises';
         import { syncBuiltinESMExports } from 'node:module';
         const { mkdtemp } = promises;
         promises.mkdtemp = async (...args) => {
           const made = await mkdtemp(...args);
           try { for (;;) openSync('/dev/null'); } catch (error) { if (error.code !== 'EMFILE') throw error; }
           return made;
         };
         syncBuiltinESMExports();`,
      );
      const result = await limited('-n 400', args(place.scratch, place.target), { NODE_OPTIONS: option });
      await expectCleanFailure(result, /EMFILE|too many open files/i, place);
    });
  });
});

describeWith({ tools: ['mount', 'umount'], root: true }, 'a small disk', () => {
  async function onDisk(kib: number, body: (mounted: string) => Promise<void>): Promise<void> {
    await withTempDirectory(async (directory) => {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${kib}k,mode=0700`, 'accel-test', directory]);
      try {
        await body(directory);
      } finally {
        await run('umount', ['-l', directory]);
      }
    });
  }

  test.each([64, 700, 2600])('of %i KiB is full while spooling', async (kib) => {
    await onDisk(kib, (scratch) =>
      withTempDirectory(async (directory) => {
        const place = { scratch, target: join(directory, 'target') };
        const result = await limited('-c 0', args(scratch, place.target));
        await expectCleanFailure(result, /\[io-error\].*(ENOSPC|no space left)/i, place);
        expect(result.stderr).toContain('by -d DIR');
        expect(result.stderr).toContain(scratch);
      }),
    );
  });

  test.each([40, 900, 3200])('of %i KiB is full while the result is written', async (kib) => {
    await onDisk(kib, (disk) =>
      withTempDirectory(async (scratch) => {
        const place = { scratch, target: join(disk, 'target') };
        const result = await limited('-c 0', args(scratch, place.target));
        await expectCleanFailure(result, /\[io-error\].*(ENOSPC|no space left)/i, place);
      }),
    );
  });

  test('that is full already keeps nothing of an archive whose first write fails', async () => {
    await onDisk(4, (disk) =>
      withTempDirectory(async (scratch) => {
        await writeFile(join(disk, 'all-of-it'), Buffer.alloc(4096, 1));
        const archive = join(disk, 'images.tar');
        const result = await limited('-c 0', args(scratch, archive, 'oci-archive'));
        expect(result.stderr).toMatch(/\[io-error\] ENOSPC/);
        expect(result.stderr).toContain(`path      ${archive}`);
        expect(result.exitCode).toBe(1);
        expect(await readdir(disk)).toEqual(['all-of-it']);
        expect(await readdir(scratch)).toEqual([]);
      }),
    );
  });
});

describe('standard output', () => {
  test.each([
    ['ls', ['ls', '-q']],
    ['inspect', ['inspect']],
  ])('of %s that is full: an error, not a stack trace', async (_, command) => {
    await places(async ({ scratch, target }) => {
      await convert(args(scratch, target).slice(1));
      const line = [...command, `oci:${target}:obd`].map((word) => `'${word}'`).join(' ');
      const { exitCode, stderr } = await run('bash', ['-c', `'${process.execPath}' '${ACCEL}' ${line} > /dev/full`], {
        accept: 'any',
      });
      expect(stderr).toMatch(/\[io-error\].*ENOSPC/);
      expect(stderr).not.toMatch(/\n\s+at /);
      expect(exitCode).toBe(1);
    });
  });
});

/** Writes a module that is loaded before accel and disturbs it; the option of Node that loads it. */
async function disturbance(code: string): Promise<string> {
  const file = join(home.path, `disturb-${Math.abs(hash(code))}.mjs`);
  await writeFile(file, code);
  return `--import=${pathToFileURL(file).href}`;
}

async function disturbed(code: string, place: { scratch: string; target: string }) {
  return accel(args(place.scratch, place.target), { env: { NODE_OPTIONS: await disturbance(code) } });
}

const hash = (text: string): number => [...text].reduce((sum, char) => Math.imul(sum, 31) + char.charCodeAt(0), 7);

test('a worker thread that dies', async () => {
  const large = join(home.path, 'large');
  await buildLayout(large, 'latest', [{ tar: threadedTar(1) }]);
  await places(async (place) => {
    // Inside of a worker: exits as soon as it gets its second message.
    const code = `import { isMainThread, parentPort } from 'node:worker_threads';
       let count = 0;
       if (!isMainThread) parentPort.on('message', () => { if (++count === 2) process.exit(9); });`;
    const line = args(place.scratch, place.target).with(2, `oci:${large}`);
    const result = await accel(line, { env: { NODE_OPTIONS: await disturbance(code) } });
    await expectCleanFailure(result, /\[internal\] a worker thread ended/, place);
    expect(result.stderr).toContain('--workers 0');
  });
});

test.each([-400, 400])('a clock that jumps by %i days in the middle changes nothing', async (days) => {
  await places(async (place) => {
    const result = await disturbed(
      `const real = Date.now; let calls = 0;
       Date.now = () => real() + (++calls > 3 ? ${days} * 86400000 : 0);`,
      place,
    );
    expect(result.exitCode, result.stderr).toBe(0);
    const jumped = (await readTags(place.target)).get('obd')?.digest;
    await places(async ({ scratch, target }) => {
      await convert(args(scratch, target).slice(1));
      expect((await readTags(target)).get('obd')?.digest).toBe(jumped);
    });
  });
});

test('temporary files are for their user alone, whatever the umask says', async () => {
  await places(async ({ scratch, target }) => {
    const child = spawn(
      'bash',
      ['-c', 'umask 000; exec "$0" "$@"', process.execPath, ACCEL, ...args(scratch, target)],
      {
        stdio: 'ignore',
      },
    );
    const ended = new Promise((resolve) => child.on('close', resolve));
    try {
      let file: string | undefined;
      let folder: string | undefined;
      while (file === undefined && child.exitCode === null) {
        [folder] = await readdir(scratch);
        if (folder === undefined) continue;
        [file] = await readdir(join(scratch, folder)).catch(() => []);
        if (file !== undefined) child.kill('SIGSTOP');
      }
      const spool = join(scratch, folder!);
      expect((await stat(spool)).mode & 0o777).toBe(0o700);
      expect((await stat(join(spool, file!))).mode & 0o777).toBe(0o600);
    } finally {
      child.kill('SIGCONT');
      await ended;
    }
    expect(JSON.parse(await readFile(join(target, 'index.json'), 'utf8')).manifests).not.toEqual([]);
  });
});
