import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { rejects } from '../oci/contract.ts';
import { withTempDirectory } from '../tests/support/tools.ts';
import { withLock } from './lock.ts';
import { ownIdentity, processMark } from './process-mark.ts';
import { sweepLeftovers } from './sweep.ts';

const GONE = processMark({ ...ownIdentity(), pid: 999_999_999 });
const ELSEWHERE = processMark({ ...ownIdentity(), host: 'ffffffff' });

/** The names of files that a lock of `index.json` has. */
const prefixOf = async (directory: string): Promise<string> =>
  withLock(join(directory, 'index.json'), async () => {
    const [name = ''] = (await readdir(directory)).filter((one) => one.startsWith('.accel-lock-'));
    return name.slice(0, '.accel-lock-00000000'.length);
  });

test('one at a time, and nothing is left', () =>
  withTempDirectory(async (directory) => {
    const file = join(directory, 'counter');
    await writeFile(file, '0');
    const add = () =>
      withLock(file, async (lock) => {
        const before = Number(await readFile(file, 'utf8'));
        await lock.confirm();
        await writeFile(file, String(before + 1));
      });
    await Promise.all(Array.from({ length: 60 }, add));
    expect(await readFile(file, 'utf8')).toBe('60');
    expect(await readdir(directory)).toEqual(['counter']);
  }));

test('two files of one folder do not wait for one another', () =>
  withTempDirectory(async (directory) => {
    await withLock(join(directory, 'a'), () => withLock(join(directory, 'b'), async () => undefined));
  }));

test('a failure inside gives the lock back', () =>
  withTempDirectory(async (directory) => {
    const failing = withLock(join(directory, 'a'), () => Promise.reject(new Error('inside')));
    await expect(failing).rejects.toThrow('inside');
    await withLock(join(directory, 'a'), async () => undefined);
    expect(await readdir(directory)).toEqual([]);
  }));

test.each([
  ['while it chose a ticket', 0],
  ['while it waited or held the lock', 1],
])('a process that was killed %s is passed over, and its file goes', (_, ticket) =>
  withTempDirectory(async (directory) => {
    await writeFile(join(directory, `${await prefixOf(directory)}-${ticket}-${GONE}-1`), '');
    await withLock(join(directory, 'index.json'), async () => undefined);
    expect(await readdir(directory)).toEqual([]);
  }),
);

test('the sweep takes what is left of a lock that nobody asks for any more', () =>
  withTempDirectory(async (directory) => {
    await writeFile(join(directory, `.accel-lock-01234567-3-${GONE}-1`), '');
    await writeFile(join(directory, `.accel-lock-01234567-3-${processMark()}-1`), '');
    await sweepLeftovers(directory);
    expect(await readdir(directory)).toEqual([`.accel-lock-01234567-3-${processMark()}-1`]);
  }));

test('a holder that lives but never ends: an error that names it, after the patience', () =>
  withTempDirectory(async (directory) => {
    const target = join(directory, 'index.json');
    const prefix = await prefixOf(directory);
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    try {
      await once(child, 'spawn');
      const start = /^.*\) (.*)$/.exec(await readFile(`/proc/${child.pid}/stat`, 'utf8'))?.[1]?.split(' ')[19] ?? '0';
      const name = `${prefix}-1-${processMark({ ...ownIdentity(), pid: child.pid!, start })}-1`;
      await writeFile(join(directory, name), '');
      const error = await rejects(
        withLock(target, async () => undefined, { patience: 50 }),
        'io-error',
      );
      expect(error).toMatchObject({ where: { path: target }, found: expect.stringContaining(`process ${child.pid}`) });
      expect(error.hint).toContain('end it');
      expect(await readdir(directory)).toEqual([name]);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await withLock(target, async () => undefined);
    expect(await readdir(directory)).toEqual([]);
  }));

test('one of another machine is waited for while its file is touched', () =>
  withTempDirectory(async (directory) => {
    const name = join(directory, `${await prefixOf(directory)}-1-${ELSEWHERE}-1`);
    await writeFile(name, '');
    await utimes(name, 1, 1);
    const waiting = withLock(join(directory, 'index.json'), async () => undefined, { patience: 50 });
    expect((await rejects(waiting, 'io-error')).found).toContain('another machine or container');
  }));

test('an abort ends the wait', () =>
  withTempDirectory(async (directory) => {
    const target = join(directory, 'index.json');
    const controller = new AbortController();
    await withLock(target, async () => {
      const waiting = withLock(target, async () => undefined, { signal: controller.signal });
      controller.abort(new Error('enough'));
      await expect(waiting).rejects.toThrow(/enough|abort/);
    });
    expect(await readdir(directory)).toEqual([]);
  }));

test('a holder whose file was taken away notices before it writes', () =>
  withTempDirectory(async (directory) => {
    const { rm } = await import('node:fs/promises');
    const work = withLock(join(directory, 'a'), async (lock) => {
      for (const name of await readdir(directory)) await rm(join(directory, name));
      await lock.confirm();
    });
    expect((await rejects(work, 'io-error')).message).toContain('considered this process dead');
  }));
