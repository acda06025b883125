import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { run, withTempDirectory } from '../tests/support/tools.ts';
import { replaceFile, writeAtomically } from './write-atomically.ts';

const bytes = Buffer.alloc(1_000_003, 'accel');

/** A process that has the FIFO open and ends after `length` bytes, which it passes on. */
async function readerOf(fifo: string, length: number) {
  const reader = spawn('sh', ['-c', 'exec 3<>"$0"; echo; exec head -c "$1" <&3', fifo, String(length)]);
  await once(reader.stdout, 'data');
  return reader;
}

describe('a FIFO', () => {
  it('receives all bytes, however small its buffer', async () => {
    await withTempDirectory(async (directory) => {
      const fifo = join(directory, 'fifo');
      await run('mkfifo', [fifo]);
      const reader = await readerOf(fifo, bytes.length);
      const received = buffer(reader.stdout);
      await replaceFile(fifo, bytes);
      expect((await received).equals(bytes)).toBe(true);
      expect((await stat(fifo)).isFIFO()).toBe(true);
    });
  });

  it('without a reader is an error and not waited for', async () => {
    await withTempDirectory(async (directory) => {
      const fifo = join(directory, 'fifo');
      await run('mkfifo', [fifo]);
      await expect(replaceFile(fifo, bytes)).rejects.toMatchObject({
        code: 'io-error',
        where: { path: fifo },
        found: 'no reader',
      });
    });
  });

  it('whose reader goes away is an error with its path', async () => {
    await withTempDirectory(async (directory) => {
      const fifo = join(directory, 'fifo');
      await run('mkfifo', [fifo]);
      await readerOf(fifo, 10);
      await expect(replaceFile(fifo, bytes)).rejects.toMatchObject({ code: 'io-error', where: { path: fifo } });
    });
  });
});

describe('a file', () => {
  it('is replaced behind its link and keeps its mode', async () => {
    await withTempDirectory(async (directory) => {
      await writeFile(join(directory, 'old'), 'old', { mode: 0o640 });
      await symlink('old', join(directory, 'link'));
      await replaceFile(join(directory, 'link'), bytes);
      expect((await readFile(join(directory, 'old'))).equals(bytes)).toBe(true);
      expect((await stat(join(directory, 'old'))).mode & 0o777).toBe(0o640);
      expect((await readdir(directory)).sort()).toEqual(['link', 'old']);
    });
  });

  it('in a missing directory is an error', async () => {
    await withTempDirectory(async (directory) => {
      await expect(replaceFile(join(directory, 'missing', 'file'), bytes)).rejects.toMatchObject({ code: 'ENOENT' });
    });
  });
});

it('a device is written to', () => expect(replaceFile('/dev/null', bytes)).resolves.toBeUndefined());

it('an abort after the last byte leaves the old file', async () => {
  await withTempDirectory(async (directory) => {
    const file = join(directory, 'file');
    await writeFile(file, 'old');
    const interrupt = new AbortController();
    const stream = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes;
      interrupt.abort(new Error('enough'));
    };
    await expect(writeAtomically(file, stream(), { signal: interrupt.signal })).rejects.toThrow('enough');
    expect(await readFile(file, 'utf8')).toBe('old');
    expect(await readdir(directory)).toEqual(['file']);
  });
});
