/** A look-up through a directory's index finds what a look through every block finds, and reads few blocks. */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { RawImage } from '../../tests/support/raw-image.ts';
import { requireTool, run } from '../../tests/support/tools.ts';
import { hashName } from './dirhash.ts';
import { findInIndex } from './htree.ts';
import type { RawInode } from './inode.ts';
import { INODE_FLAG } from './layout.ts';
import { Ext4Reader } from './reader.ts';

const COUNT = 30_000;
const nameOf = (i: number): string => `a-file-with-a-rather-long-name-of-its-own-number-${i}`;

let directory: string;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'accel-htree-'));
});
afterAll(async () => {
  for (const file of opened) await file.close();
  await rm(directory, { recursive: true, force: true });
});

/** A reader of a raw file system that counts what it reads. */
async function readerOf(path: string): Promise<{ reader: Ext4Reader; reads: number[] }> {
  const file = await open(path);
  opened.push(file);
  const reads: number[] = [];
  const { size } = await file.stat();
  const reader = await Ext4Reader.open({
    size,
    async read(offset, length) {
      reads.push(offset);
      const bytes = new Uint8Array(length);
      await file.read(bytes, 0, length, offset);
      return bytes;
    },
  });
  return { reader, reads };
}

async function directoryOf(reader: Ext4Reader, name: string): Promise<RawInode> {
  const found = await reader.lookup(await reader.root(), name);
  expect(found?.type).toBe('directory');
  return found!;
}

function written(name: string, count: number): string {
  const tar = new TarBuilder().dir('crowd/');
  for (let i = 0; i < count; i++) tar.file(`crowd/${nameOf(i)}`, '');
  tar.file(Buffer.from('crowd/caf\xe9', 'latin1'), 'x');
  const path = join(directory, name);
  const image = new RawImage(path);
  image.apply([tar.build()]);
  image.close();
  return path;
}

describe(`accel’s directory of ${COUNT} names`, () => {
  let path: string;
  beforeAll(() => {
    path = written('ours', COUNT);
  });

  it('every name is found, and no other', async () => {
    const { reader } = await readerOf(path);
    const crowd = await directoryOf(reader, 'crowd');
    expect(crowd.flags & INODE_FLAG.index).not.toBe(0);
    for (let i = 0; i < COUNT; i += 97) {
      expect(await reader.lookup(crowd, nameOf(i))).toMatchObject({ type: 'file' });
      expect(await reader.lookup(crowd, `${nameOf(i)}x`)).toBeUndefined();
    }
    expect(await reader.lookup(crowd, 'caf\xe9')).toMatchObject({ size: 1 });
  });

  it('costs four blocks of the directory at most', async () => {
    const { reader, reads } = await readerOf(path);
    const crowd = await directoryOf(reader, 'crowd');
    const before = reads.length;
    await reader.lookup(crowd, nameOf(12_345));
    // Root, node and leaf of the index, a node of the extent tree, the inode and its group.
    expect(reads.length - before).toBeLessThanOrEqual(6);
  });

  it.each([
    ['count 0', (block: Uint8Array) => block.fill(0, 34, 36)],
    ['more entries than room', (block: Uint8Array) => block.fill(0xff, 34, 36)],
    ['a room of more than a block', (block: Uint8Array) => block.fill(0xff, 32, 36)],
    ['a hash version that is not known', (block: Uint8Array) => block.fill(2, 28, 29)],
    ['too many levels', (block: Uint8Array) => block.fill(9, 30, 31)],
    ['a block behind the end', (block: Uint8Array) => block.fill(0xff, 36, 40)],
  ])('an index with %s is not used', async (_, damage) => {
    const { reader } = await readerOf(path);
    const crowd = await directoryOf(reader, 'crowd');
    const found = await findInIndex(
      async (logical) => {
        for await (const block of reader.content(crowd, logical * 4096, (logical + 1) * 4096)) {
          const copy = Uint8Array.from(block);
          if (logical === 0) damage(copy);
          return copy;
        }
        throw new Error('no such block');
      },
      { number: crowd.number, blocks: crowd.size / 4096 },
      lowest(),
      { seed: SEED, flags: 2 },
    );
    expect(found).toBe('unknown');
  });
});

/** Any seed will do for a damaged index: it is refused before a leaf is looked at. */
const SEED = new Uint32Array([1, 2, 3, 4]);

/** A name of the lowest hash under {@link SEED}: it belongs to the first entry of every node. */
function lowest(): string {
  let best = nameOf(0);
  for (let i = 0; i < 2000; i++) if (hashName(nameOf(i), SEED).major < hashName(best, SEED).major) best = nameOf(i);
  return best;
}

/** A root of two leaves; the second one begins at `second`. Only the second holds the name. */
function twoLeaves(name: string, second: number): Uint8Array[] {
  const blocks = [0, 1, 2].map(() => new Uint8Array(4096));
  const [root, first, last] = blocks.map((block) => new DataView(block.buffer));
  for (const [i, value] of [
    [28, 1],
    [29, 8],
  ] as const)
    root!.setUint8(i, value);
  root!.setUint16(32, 508, true);
  root!.setUint16(34, 2, true);
  root!.setUint32(36, 1, true);
  root!.setUint32(40, second, true);
  root!.setUint32(44, 2, true);
  first!.setUint16(4, 4096, true);
  last!.setUint32(0, 77, true);
  last!.setUint16(4, 4096, true);
  last!.setUint8(6, name.length);
  blocks[2]!.set(Buffer.from(name), 8);
  return blocks;
}

it.each([
  ['whose hash goes on in the next leaf is looked for everywhere', (hash: number) => hash + 1, 'unknown'],
  ['of the hash with which a leaf begins is in it', (hash: number) => hash, { inode: 77 }],
  ['below the next leaf is not there', (hash: number) => hash + 2, undefined],
] as const)('a name %s', async (_, second, expected) => {
  const blocks = twoLeaves('name', second(hashName('name', SEED).major));
  const read = async (logical: number): Promise<Uint8Array> => blocks[logical]!;
  const found = await findInIndex(read, { number: 12, blocks: 3 }, 'name', { seed: SEED, flags: 2 });
  if (typeof expected === 'object') expect(found).toMatchObject(expected);
  else expect(found).toBe(expected);
});

it('an index that mke2fs and the kernel’s hash made, signed or not', async () => {
  requireTool('mke2fs');
  const tree = join(directory, 'tree');
  const names = [...Array.from({ length: 3000 }, (_, i) => nameOf(i)), 'café', 'naïve-ÿ'];
  const script = 'mkdir -p "$1/crowd" && cd "$1/crowd" && xargs -0 touch';
  await run('sh', ['-c', script, 'sh', tree], { input: names.join('\0') });
  for (const hash of ['signed', 'unsigned']) {
    const path = join(directory, `mke2fs-${hash}`);
    await run('mke2fs', ['-q', '-t', 'ext4', '-O', '^has_journal,^metadata_csum', '-d', tree, path, '64M']);
    // e2fsck -D makes the index; mke2fs leaves long directories without one.
    await run('sh', ['-c', 'e2fsck -fyD "$1" >/dev/null; test $? -le 1', 'sh', path]);
    if (hash === 'unsigned') await run('debugfs', ['-w', '-R', 'ssv flags 2', path]);
    if (hash === 'unsigned') await run('sh', ['-c', 'e2fsck -fyD "$1" >/dev/null; test $? -le 1', 'sh', path]);
    const { reader, reads } = await readerOf(path);
    const crowd = await directoryOf(reader, 'crowd');
    expect(crowd.flags & INODE_FLAG.index).not.toBe(0);
    const before = reads.length;
    expect(await reader.lookup(crowd, nameOf(1234))).toBeDefined();
    expect(reads.length - before).toBeLessThanOrEqual(6);
    for (const name of names)
      expect(await reader.lookup(crowd, Buffer.from(name).toString('latin1')), name).toMatchObject({ type: 'file' });
    expect(await reader.lookup(crowd, 'absent')).toBeUndefined();
  }
});
