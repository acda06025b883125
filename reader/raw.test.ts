import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { AccelError } from '../base/error.ts';
import { withTempDirectory } from '../tests/support/tools.ts';
import { MemoryDevice } from './nbd/testing/devices.ts';
import { exportRaw, type RawProgress } from './raw.ts';

const MIB = 1 << 20;
const device = () =>
  new MemoryDevice(40 * MIB, [
    { offset: 512, length: 5000 },
    { offset: 10 * MIB - 100, length: 9 * MIB },
    { offset: 40 * MIB - 1, length: 1 },
  ]);

it('writes what the device holds, and leaves holes holes', async () => {
  await withTempDirectory(async (directory) => {
    const source = device();
    const file = join(directory, 'disk');
    const seen: RawProgress[] = [];
    const result = await exportRaw(source, file, { onProgress: (progress) => seen.push(progress) });
    expect(Buffer.compare(await readFile(file), source.bytes(0, source.size))).toBe(0);
    expect(result.size).toBe(40 * MIB);
    expect(result.written).toBe(9 * MIB + 5001);
    expect((await stat(file)).blocks * 512).toBeLessThan(10 * MIB);
    expect(seen.at(-1)).toEqual({ done: 9 * MIB + 5001, total: 9 * MIB + 5001 });
    expect(source.reads.reduce((sum, { length }) => sum + length, 0)).toBe(9 * MIB + 5001);
    expect(await readdir(directory)).toEqual(['disk']);
  });
});

it('makes holes of zeros where the device does not know its own', async () => {
  await withTempDirectory(async (directory) => {
    const { size, read } = device();
    const source = device();
    const file = join(directory, 'disk');
    await exportRaw({ size, read: (offset, length) => read.call(source, offset, length) }, file);
    expect(Buffer.compare(await readFile(file), source.bytes(0, size))).toBe(0);
    expect((await stat(file)).blocks * 512).toBeLessThan(10 * MIB);
  });
});

it('leaves the old file and nothing else when the device fails, or the user gives up', async () => {
  await withTempDirectory(async (directory) => {
    const file = join(directory, 'disk');
    await writeFile(file, 'before');
    const failing = device();
    failing.beforeRead = (offset) => {
      if (offset > 12 * MIB) throw new AccelError('zfile-invalid', 'damaged');
    };
    await expect(exportRaw(failing, file)).rejects.toMatchObject({ code: 'zfile-invalid', where: { file } });
    const controller = new AbortController();
    const interrupted = exportRaw(device(), file, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(interrupted).rejects.toMatchObject({ code: 'aborted' });
    expect(await readFile(file, 'utf8')).toBe('before');
    expect(await readdir(directory)).toEqual(['disk']);
  });
});

it('reads nothing more once a read has failed', async () => {
  await withTempDirectory(async (directory) => {
    const source = new MemoryDevice(64 * MIB, [{ offset: 0, length: 64 * MIB }]);
    source.beforeRead = (offset) => {
      if (offset === 0) throw new AccelError('registry-error', 'gone');
    };
    await expect(exportRaw(source, join(directory, 'disk'))).rejects.toMatchObject({ code: 'registry-error' });
    expect(source.reads.length).toBeLessThan(8);
  });
});

it('replaces the file behind a symlink, and neither directories nor devices', async () => {
  await withTempDirectory(async (directory) => {
    const file = join(directory, 'disk');
    await writeFile(file, 'before');
    await symlink('disk', join(directory, 'link'));
    await exportRaw(device(), join(directory, 'link'));
    expect(await readlink(join(directory, 'link'))).toBe('disk');
    expect((await stat(file)).size).toBe(40 * MIB);
    await mkdir(join(directory, 'folder'));
    for (const place of [join(directory, 'folder'), '/dev/null'])
      await expect(exportRaw(device(), place)).rejects.toMatchObject({ code: 'usage' });
    expect(existsSync('/dev/null')).toBe(true);
  });
});

it('says where it could not write', async () => {
  await withTempDirectory(async (directory) => {
    const file = join(directory, 'missing', 'disk');
    await expect(exportRaw(device(), file)).rejects.toMatchObject({ code: 'io-error', where: { file } });
  });
});
