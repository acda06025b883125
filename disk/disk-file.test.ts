import { appendFile, type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { noise, rejects } from '../oci/contract.ts';
import { readMembers, writeMember } from '../oci/tar-file.ts';
import { type TempDirectory, tempDirectory } from '../tests/support/tools.ts';
import { DiskFile } from './disk-file.ts';

let home: TempDirectory;
beforeAll(async () => {
  home = await tempDirectory();
});
afterAll(() => home.remove());

/** A file whose system takes and gives at most `most` bytes a call. */
async function slowFile(name: string, most: number): Promise<DiskFile> {
  const handle = await open(join(home.path, name), 'w+');
  const little: Pick<FileHandle, 'read' | 'write' | 'close'> = {
    read: ((bytes: Uint8Array, at: number, length: number, position: number) =>
      handle.read(bytes, at, Math.min(length, most), position)) as FileHandle['read'],
    write: ((bytes: Uint8Array, at: number, length: number, position: number) =>
      handle.write(bytes, at, Math.min(length, most), position)) as FileHandle['write'],
    close: () => handle.close(),
  };
  return new DiskFile(join(home.path, name), little as FileHandle);
}

describe('however little the system does at a time', () => {
  test('all is written, and all is read', async () => {
    const file = await slowFile('slow', 999);
    const bytes = noise(100_000, 1);
    await file.write(bytes.subarray(40_000), 40_000);
    await file.write(bytes.subarray(0, 40_000), 0);
    expect(Buffer.from(await file.read(0, bytes.length)).equals(bytes)).toBe(true);
    const pieces: Uint8Array[] = [];
    for await (const piece of file.pieces({ offset: 7, size: 90_000 })) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(bytes.subarray(7, 90_007))).toBe(true);
    await file.close();
    expect((await readFile(file.path)).equals(bytes)).toBe(true);
  });

  test('a member of a tar has no gap', async () => {
    const file = await slowFile('slow.tar', 700);
    const bytes = noise(200_000, 2);
    const end = await writeMember(file, 0, { name: 'noise', size: bytes.length, stream: [bytes] as never });
    const { offset, size } = (await readMembers(file, end, {})).get('noise')!;
    expect(Buffer.from(await file.read(offset, size)).equals(bytes)).toBe(true);
    await file.close();
  });
});

describe('an error has the path', () => {
  test('of a file that is not there, or is there already', async () => {
    const path = join(home.path, 'absent');
    expect((await rejects(DiskFile.open(path), 'io-error')).where).toEqual({ path });
    await writeFile(path, '');
    expect((await rejects(DiskFile.create(path, 0o600), 'io-error')).where).toEqual({ path });
  });

  test('of a disk without room, and what to do', async () => {
    const full = async (telling?: object) => new DiskFile('/dev/full', await open('/dev/full', 'w'), telling);
    const file = await full();
    const error = await rejects(file.write(Buffer.from('a'), 0), 'io-error');
    expect(error).toMatchObject({ where: { path: '/dev/full' }, hint: 'Make room there.' });
    expect(error.message).toContain('ENOSPC');
    await file.close();
    const told = await full({ shown: '/what/the/user/knows', roomHint: 'Take another disk.' });
    expect(await rejects(told.write(Buffer.from('a'), 0), 'io-error')).toMatchObject({
      where: { path: '/what/the/user/knows' },
      hint: 'Take another disk.',
    });
    await told.close();
  });

  test('of what cannot be read, written or cut off, or is closed', async () => {
    const folder = new DiskFile(home.path, await open(home.path));
    for (const doing of [
      () => folder.read(0, 1),
      () => folder.pieces({ offset: 0, size: 1 }).next(),
      () => folder.write(Buffer.from('a'), 0),
      () => folder.truncate(0),
    ]) {
      const error = await rejects(doing(), 'io-error');
      expect(error.where).toEqual({ path: home.path });
      expect(error.hint).toBeUndefined();
    }
    await folder.close();
    expect((await rejects(folder.size(), 'io-error')).where).toEqual({ path: home.path });
  });

  test('of a file that ends early, with the offset', async () => {
    const path = join(home.path, 'short');
    await appendFile(path, 'short');
    const file = await DiskFile.open(path);
    expect(await rejects(file.read(2, 4), 'size-mismatch')).toMatchObject({
      where: { path, offset: 2 },
      expected: 4,
      found: 3,
    });
    await file.close();
  });
});
