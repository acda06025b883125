import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { readTree } from '../../tests/support/ext4-judge.ts';
import { FUZZ_TIMEOUT, fuzzRuns } from '../../tests/support/fuzz-runs.ts';
import { describeWith, run, withTempDirectory } from '../../tests/support/tools.ts';
import { diffTrees } from '../../tests/support/tree.ts';
import { extentTreeNode } from './extents.ts';
import type { RawInode } from './inode.ts';
import { BLOCK_SIZE, INODE_FLAG, SUPERBLOCK_OFFSET, superblock } from './layout.ts';
import { type BlockDevice, Ext4Reader } from './reader.ts';
import { withImage } from './testing/image-box.ts';
import { readerTree, treeOf } from './testing/reader-tree.ts';

/** Bytes in memory as a device. */
function memoryDevice(bytes: Uint8Array): BlockDevice {
  return { size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
}

/** One of everything, in 128 MiB. */
function everything(): TarBuilder {
  const layer = new TarBuilder({ mtime: '1700000000' })
    .file('f', new Uint8Array(20_000).fill(5))
    .link('hard', 'f')
    .symlink('fast', 'f')
    .symlink('slow', 's'.repeat(300))
    .device('dev', 'block', 300, 70_000)
    .fifo('fifo')
    .dir('x/', { xattrs: { 'user.small': 's', 'user.big': new Uint8Array(2000) } });
  for (let i = 0; i < 400; i++) layer.file(`d/${'n'.repeat(20)}${i}`, i % 7 === 0 ? 'content' : '');
  return layer;
}

async function imageOfEverything(): Promise<Uint8Array> {
  return withImage({ virtualSize: 2 ** 27 }, async (box) => {
    box.layer(everything());
    return new Uint8Array(readFileSync(box.path));
  });
}

describeWith({ tools: ['mke2fs', 'debugfs', 'python3'] }, 'the reader and file systems of others', () => {
  test.each([
    ['4096', ['-b', '4096']],
    ['1024', ['-b', '1024']],
    ['2048_inodes_of_512', ['-b', '2048', '-I', '512']],
    ['inodes_of_128', ['-b', '4096', '-I', '128', '-O', '^metadata_csum']],
    ['64bit_journal', ['-b', '4096', '-O', '64bit,metadata_csum,has_journal']],
    ['no_64bit', ['-b', '4096', '-O', '^64bit,^flex_bg']],
  ])('mke2fs_%s', async (_, options) => {
    await withTempDirectory(async (directory) => {
      await run('sh', ['-ec', CONTENT, 'sh', join(directory, 'root')]);
      const image = join(directory, 'image.ext4');
      await run('mke2fs', ['-q', '-t', 'ext4', ...options, '-d', join(directory, 'root'), image, '64M']);
      const { entries } = await readTree(image, { keepLostAndFound: true });
      expect(entries.length).toBeGreaterThan(600);
      expect(diffTrees(entries, await readerTree(image))).toEqual([]);
    });
  });
});

const CONTENT = String.raw`
mkdir "$1" && cd "$1"
mkdir d
i=0; while [ $i -lt 600 ]; do echo $i >d/a-name-of-some-length-$i; i=$((i + 1)); done
head -c 3000000 /dev/zero | tr '\0' x >large
truncate -s 5M sparse && printf tail >>sparse
ln -s large fast
ln -s "$(head -c 300 /dev/zero | tr '\0' s)" slow
ln large hard
setfattr -n user.a -v "$(head -c 90 /dev/zero | tr '\0' v)" large || true
chmod 2711 d
touch -d 2300-01-01T00:00:00.000000001Z sparse
`;

describe('Ext4Reader', () => {
  test('reads any range of a file, holes as zeros', async () => {
    await withImage({ virtualSize: 2 ** 27 }, async (box) => {
      const content = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 253);
      box.layer(new TarBuilder().file('f', content));
      const reader = await Ext4Reader.open(memoryDevice(new Uint8Array(readFileSync(box.path))));
      const inode = (await reader.lookup(await reader.root(), 'f'))!;
      for (const [start, end] of [
        [0, 1],
        [4095, 4097],
        [1_048_575, 1_048_577],
        [0, 3_000_000],
        [2_999_999, 9_000_000],
        [3_000_000, 3_000_001],
        [5, 5],
      ] as const) {
        const pieces: Uint8Array[] = [];
        for await (const piece of reader.content(inode, start, end)) pieces.push(piece);
        expect(Buffer.compare(Buffer.concat(pieces), content.subarray(start, end))).toBe(0);
      }
      await expect(reader.bytes(inode, 100)).rejects.toMatchObject({ code: 'limit-exceeded' });
      await expect(reader.inode(0)).rejects.toMatchObject({ code: 'ext4-invalid' });
      await expect(reader.inode(reader.inodeCount + 1)).rejects.toMatchObject({ code: 'ext4-invalid' });
      expect(await reader.lookup(await reader.root(), 'none')).toBeUndefined();
    });
  });

  test('a tree whose nodes all lead to one block is refused at once', async () => {
    // Four levels of 340 pointers to the block below: followed to the end it would be 10^10 extents.
    const device = new Uint8Array(2 ** 20);
    superblock.write(device, SUPERBLOCK_OFFSET, {
      s_magic: 0xef53,
      s_log_block_size: 2,
      s_inodes_count: 100,
      s_inodes_per_group: 100,
      s_rev_level: 1,
      s_inode_size: 256,
    });
    const one = { logical: 0, physical: 5, count: 1 };
    const leafBytes = extentTreeNode({ extents: Array.from({ length: 5 }, () => one), blocks: [10] }, 0);
    for (const [leaf, expected] of [
      [leafBytes, 'leaf with extents'],
      [new Uint8Array(leafBytes).fill(0, 2, 4), 'leaf without'],
    ] as const) {
      device.set(leaf, 10 * BLOCK_SIZE);
      for (let depth = 1; depth < 5; depth++) {
        const node = new DataView(device.buffer, (10 + depth) * BLOCK_SIZE, BLOCK_SIZE);
        node.setUint16(0, 0xf30a, true);
        node.setUint16(2, 340, true);
        node.setUint16(6, depth, true);
        for (let i = 0; i < 340; i++) node.setUint32(12 + i * 12 + 4, 9 + depth, true);
      }
      const root = new Uint8Array(60);
      const view = new DataView(root.buffer);
      view.setUint16(0, 0xf30a, true);
      view.setUint16(2, 1, true);
      view.setUint16(6, 5, true);
      view.setUint32(16, 14, true);
      const reader = await Ext4Reader.open(memoryDevice(device));
      const inode = { number: 12, flags: INODE_FLAG.extents, iBlock: root, size: 1 } as RawInode;
      await expect(reader.extents(inode), expected).rejects.toMatchObject({
        code: 'ext4-invalid',
        where: { inode: 12 },
      });
    }
  });

  test.each([
    ['no magic', { s_magic: 0 }],
    ['an unknown feature', { s_feature_incompat: 0x1_0000 }],
    ['inodes of 0 bytes', { s_inode_size: 0 }],
    ['inodes of 300 bytes', { s_inode_size: 300 }],
    ['descriptors of 0 bytes', { s_feature_incompat: 0x80, s_desc_size: 0 }],
    ['blocks of 128 KiB', { s_log_block_size: 7 }],
    ['groups without inodes', { s_inodes_per_group: 0 }],
  ])('a superblock with %s is refused', async (_, fields) => {
    const sane = { s_magic: 0xef53, s_log_block_size: 2, s_inodes_per_group: 8, s_rev_level: 1, s_inode_size: 256 };
    const device = new Uint8Array(8192);
    superblock.write(device, SUPERBLOCK_OFFSET, { ...sane, ...fields });
    await expect(Ext4Reader.open(memoryDevice(device))).rejects.toMatchObject({ code: 'ext4-invalid' });
  });

  test('a device too short for a superblock is refused', async () => {
    await expect(Ext4Reader.open(memoryDevice(new Uint8Array(1500)))).rejects.toMatchObject({ code: 'ext4-invalid' });
  });

  test('bytes flipped in the metadata end in an AccelError or in another tree, and soon', {
    timeout: FUZZ_TIMEOUT,
  }, async () => {
    const image = await imageOfEverything();
    const sound = await Ext4Reader.open(memoryDevice(image));
    const metadata = await metadataBytes(sound, image);
    const damage = fc.array(fc.tuple(fc.nat(metadata.length - 1), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(damage, async (flips) => {
        const places = flips.map(([place, xor]) => [metadata[place]!, xor] as const);
        for (const [at, xor] of places) image[at] = image[at]! ^ xor;
        try {
          const reader = await Ext4Reader.open(memoryDevice(image));
          // A damaged size may be honest terabytes of zeros: whoever reads content sets the bound, as here.
          for await (const { inode } of reader.walk()) {
            if (inode.type === 'file') await reader.bytes(inode, 1 << 20);
            if (inode.type === 'symlink') await reader.target(inode);
            await reader.xattrs(inode);
          }
        } catch (error) {
          if (!(error instanceof AccelError)) throw error;
          expect(['ext4-invalid', 'limit-exceeded']).toContain(error.code);
        } finally {
          for (const [at, xor] of places) image[at] = image[at]! ^ xor;
        }
      }),
      fuzzRuns(3000),
    );
    expect((await treeOf(sound)).length).toBe(410);
  });
});

/** Positions of bytes that structure the file system: superblock, descriptors, inodes in use, directories, attributes. */
async function metadataBytes(reader: Ext4Reader, image: Uint8Array): Promise<number[]> {
  const out: number[] = [];
  const add = (from: number, length: number): void => {
    for (let at = from; at < from + length; at++) out.push(at);
  };
  // Often: everything hangs on them.
  for (let times = 0; times < 20; times++) add(SUPERBLOCK_OFFSET, 256);
  for (let times = 0; times < 20; times++) add(BLOCK_SIZE, 64);
  const table = new DataView(image.buffer).getUint32(BLOCK_SIZE + 8, true) * BLOCK_SIZE;
  add(table, 420 * 256);
  for await (const { inode } of reader.walk()) {
    if (inode.xattrBlock !== 0) add(inode.xattrBlock * BLOCK_SIZE, BLOCK_SIZE);
    if (inode.type !== 'directory' && inode.type !== 'symlink') continue;
    for (const { physical, count } of await reader.extents(inode)) add(physical * BLOCK_SIZE, count * BLOCK_SIZE);
  }
  return out;
}
