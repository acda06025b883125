import { readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { withTempDirectory } from '../tests/support/tools.ts';
import { makeFolder } from './make-folder.ts';

test('makes what is missing, with the mode, and leaves what is there', () =>
  withTempDirectory(async (folder) => {
    await makeFolder(path.join(folder, 'a'));
    await makeFolder(path.join(folder, 'a/b/c'), 0o700);
    await makeFolder(path.join(folder, 'a/b/c'), 0o700);
    expect(await readdir(path.join(folder, 'a'))).toEqual(['b']);
    expect((await stat(path.join(folder, 'a/b/c'))).mode & 0o777).toBe(0o700);
  }));

test('many that make the same folder at once all succeed', () =>
  withTempDirectory(async (folder) => {
    await Promise.all(Array.from({ length: 20 }, () => makeFolder(path.join(folder, 'x/y/z'))));
    expect(await readdir(path.join(folder, 'x/y'))).toEqual(['z']);
  }));

test('fails below a file', () =>
  withTempDirectory(async (folder) => {
    await writeFile(path.join(folder, 'file'), '');
    await expect(makeFolder(path.join(folder, 'file/x'))).rejects.toMatchObject({ code: 'EEXIST' });
  }));

test.runIf(process.platform === 'linux')('ends where nothing can be made', async () => {
  await expect(makeFolder('/proc/accel/x')).rejects.toMatchObject({ code: 'ENOENT' });
});
