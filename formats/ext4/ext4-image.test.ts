import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { e2fsck } from '../../tests/support/ext4-judge.ts';
import { describeWith, run, withTempDirectory } from '../../tests/support/tools.ts';
import { crc16 } from '../checksum/crc16.ts';
import { Ext4Image } from './ext4-image.ts';
import { BLOCK_SIZE, GROUP_BYTES, groupDescriptor, SUPERBLOCK_OFFSET, superblock } from './layout.ts';
import { SMALL, withImage } from './testing/image-box.ts';

const tar = (): TarBuilder => new TarBuilder({ mtime: '1700000000' });

describe('Ext4Image', () => {
  test.each([
    { name: '64 GiB', virtualSize: 64 * 2 ** 30 },
    { name: '128 MiB', virtualSize: GROUP_BYTES },
    { name: '1 TiB', virtualSize: 2 ** 40 },
  ])('an empty file system of $name is few blocks that hold something', ({ virtualSize }) => {
    const image = new Ext4Image({ virtualSize });
    image.beginLayer();
    const blocks = [...image.commit()];
    const bytes = blocks.filter(({ bytes: b }) => b.some((byte) => byte !== 0)).length * BLOCK_SIZE;
    // Descriptors for every group, the bitmaps of the groups that the inode tables fill; the rest is never written.
    expect(bytes).toBeLessThan(40_000 + virtualSize / 2 ** 18);
    expect(blocks.map(({ block }) => block)).toEqual(blocks.map(({ block }) => block).sort((a, b) => a - b));
    expect(new Set(blocks.map(({ block }) => block)).size).toBe(blocks.length);
  });

  test.each([0, 1, GROUP_BYTES - 4096, GROUP_BYTES + 4096, 2 ** 44 + GROUP_BYTES, Number.NaN])(
    'a virtual size of %d is refused',
    (virtualSize) => {
      expect(() => new Ext4Image({ virtualSize })).toThrow(expect.objectContaining({ code: 'usage' }));
    },
  );

  test('the same layers give the same bytes, in chunks of any size', async () => {
    const layers = [
      tar().dir('d/').file('d/a', 'a'.repeat(9000)).symlink('s', 'd'),
      tar().whiteout('d/a').file('b', 'b'),
    ];
    const hashes = await Promise.all(
      [1, 321, 65_536].map((chunk) =>
        withImage(SMALL, async (box) => {
          const written = layers.map((layer) => box.layer(layer, chunk));
          return [written, createHash('sha256').update(readFileSync(box.path)).digest('hex')];
        }),
      ),
    );
    expect(hashes[1]).toEqual(hashes[0]);
    expect(hashes[2]).toEqual(hashes[0]);
  });

  test('blocks that a layer allocated and gave back are discarded, those of lower layers are not', async () => {
    await withImage(SMALL, async (box) => {
      const lower = box.layer(tar().file('lower', new Uint8Array(8192)));
      expect(box.image.discarded).toEqual([]);
      const { image } = box;
      image.beginLayer();
      const inode = image.create(image.root, 'f', {
        type: 'file',
        attributes: { mode: 0, uid: 0, gid: 0, mtime: { seconds: 0, nanoseconds: 0 } },
      });
      const first = image.allocate(inode, 0, 3);
      image.remove(image.names.find(image.root, 'f'));
      image.remove(image.names.find(image.root, 'lower'));
      expect(image.discarded).toEqual([{ first, count: 3 }]);
      expect(first).toBeGreaterThan(lower.runs[0]!.device / BLOCK_SIZE + 1);
    });
  });

  test('no layer writes file data where a layer below wrote, and none twice', async () => {
    await withImage(SMALL, async (box) => {
      let end = 0;
      for (let layer = 0; layer < 4; layer++) {
        const { runs } = box.layer(
          tar().file('same', 'x'.repeat(5000)).file('same', 'y'.repeat(6000)).file(`f${layer}`, 'z'),
        );
        for (const { device, length } of runs) {
          expect(device).toBeGreaterThanOrEqual(end);
          expect(device % BLOCK_SIZE).toBe(0);
          end = device + length;
        }
      }
    });
  });

  test('metadata that the layers write is all that changes: nothing else of the device is touched', async () => {
    await withImage(SMALL, async (box) => {
      box.layer(tar().dir('d/').file('d/f', 'x'.repeat(10_000)));
      const before = readFileSync(box.path);
      const { metadata, runs } = box.layer(tar().file('d/g', 'y'.repeat(5000)));
      const after = readFileSync(box.path);
      const written = new Set(metadata);
      for (const { device, length } of runs) {
        for (let at = device; at < device + length; at += BLOCK_SIZE) written.add(Math.floor(at / BLOCK_SIZE));
      }
      for (let block = 0; block < after.length / BLOCK_SIZE; block++) {
        const range = [block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE] as const;
        const same = Buffer.compare(before.subarray(...range), after.subarray(...range)) === 0;
        if (!written.has(block)) expect(same, `block ${block}`).toBe(true);
      }
      expect(metadata.length).toBeLessThanOrEqual(7);
    });
  });

  test('neighbours in a tar are neighbours on the device', async () => {
    await withImage(SMALL, async (box) => {
      const { runs } = box.layer(tar().file('a', 'x'.repeat(5000)).file('d/b', 'x').file('c', 'x'.repeat(4096)));
      const first = runs[0]!.device;
      expect(runs.map(({ device }) => (device - first) / BLOCK_SIZE)).toEqual([0, 2, 3]);
    });
  });
});

describeWith({ tools: ['e2fsck', 'dumpe2fs'] }, 'file systems of every size', () => {
  test.each([1, 2, 3, 16, 17, 127, 512, 1024])('groups_%i', async (groups) => {
    await withImage({ virtualSize: groups * GROUP_BYTES }, async (box) => {
      box.layer(tar());
      await box.check();
      box.layer(tar().file('f', 'x').dir('d/'));
      await box.check();
      const { stdout } = await run('dumpe2fs', [box.path]);
      const text = stdout.toString();
      expect(text.match(/^Group \d+:/gm)).toHaveLength(groups);
      expect(text).not.toMatch(/checksum.*(should|EXPECTED)/i);
    });
  });

  test('files over many groups: bitmaps, counts and checksums of each', async () => {
    await withImage({ virtualSize: 8 * GROUP_BYTES }, async (box) => {
      const piece = new Uint8Array(40_000_000);
      for (let layer = 0; layer < 10; layer++) {
        box.layer(tar().file(`f${layer}`, piece).file(`d/${layer}`, 'x'));
        if (layer % 3 === 0) await box.check();
      }
      box.layer(tar().whiteout('f0').whiteout('f4').whiteout('f5').file('f9', 'short now'));
      await box.check();
      const layer = tar();
      for (let i = 0; i < 30_000; i++) layer.file(`many/${i}`, '');
      box.layer(layer);
      await box.check();
      box.layer(tar().whiteout('many'));
      await box.check();
    });
  });

  test('a device that is full to its last block', async () => {
    await withImage({ virtualSize: GROUP_BYTES }, async (box) => {
      const metadata = box.image.allocator.state.nextBlock;
      // Two blocks for the root and /lost+found at commit.
      box.layer(tar().file('f', new Uint8Array(GROUP_BYTES - (metadata + 2) * BLOCK_SIZE)));
      expect(box.image.allocator.freeBlocks).toBe(0);
      await box.check();
      expect(() => box.layer(tar().file('g', 'x'))).toThrow(expect.objectContaining({ code: 'filesystem-full' }));
    });
  });
});

describeWith({ tools: ['e2fsck', 'mount', 'python3'], root: true }, 'a writable mount', () => {
  test('takes what a container writes, over what the layers put', async () => {
    await withImage({ virtualSize: 4 * GROUP_BYTES }, async (box) => {
      const layer = tar()
        .file('f', 'x'.repeat(10_000))
        .symlink('s', 'f')
        .dir('x/', { xattrs: { 'user.a': 'a' } });
      for (let i = 0; i < 3000; i++) layer.file(`d/${'n'.repeat(30)}${i}`, 'content');
      box.layer(layer);
      box.layer(
        tar()
          .whiteout(`d/${'n'.repeat(30)}7`)
          .file('e/f', 'x'),
      );
      await withTempDirectory(async (directory) => {
        const image = join(directory, 'copy.ext4');
        const mounted = join(directory, 'mounted');
        await copyFile(box.path, image);
        await run('mkdir', [mounted]);
        await run('mount', ['-t', 'ext4', '-o', 'loop,rw', image, mounted]);
        try {
          await run('sh', ['-ec', WRITES, 'sh', mounted]);
        } finally {
          await run('umount', [mounted]);
        }
        await e2fsck(image);
      });
    });
  });
});

const WRITES = String.raw`
cd "$1"
i=0; while [ $i -lt 1000 ]; do echo $i >"d/written-$i"; i=$((i + 1)); done
i=0; while [ $i -lt 1000 ]; do rm "d/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnn$((i + 1000))"; i=$((i + 2)); done
mkdir -p new/deep/er && cp f new/deep/er && echo more >>f && ln f new/hard && rm s && mv d/written-1 e/
head -c 20000000 /dev/zero | tr '\0' z >large
setfattr -n user.b -v "$(head -c 500 /dev/zero | tr '\0' b)" x
rm -r e && sync && rm large && sync
test "$(ls d | wc -l)" = 3498
`;

describe('the superblock', () => {
  // e2fsck sets these two right without a word, so it is no judge of them.
  test('counts as free what its groups count as free', async () => {
    await withImage({ virtualSize: 4 * GROUP_BYTES }, async (box) => {
      for (const layer of [tar().file('f', new Uint8Array(9000)).dir('d/'), tar().whiteout('f').file('g', 'x')]) {
        box.layer(layer);
        const front = readFileSync(box.path).subarray(0, 2 * BLOCK_SIZE);
        const groups = [0, 1, 2, 3].map((group) =>
          groupDescriptor.read(front, BLOCK_SIZE + group * groupDescriptor.size),
        );
        const found = superblock.read(front, SUPERBLOCK_OFFSET);
        expect(found.s_free_blocks_count_lo).toBe(
          groups.reduce((sum, group) => sum + group.bg_free_blocks_count_lo, 0),
        );
        expect(found.s_free_inodes_count).toBe(groups.reduce((sum, group) => sum + group.bg_free_inodes_count_lo, 0));
      }
    });
  });
});

describe('group descriptors', () => {
  test('carry the CRC-16 of UUID, group number and descriptor', async () => {
    await withImage(SMALL, async (box) => {
      box.layer(tar());
      const device = openSync(box.path, 'r');
      const block = Buffer.alloc(BLOCK_SIZE * 2);
      readSync(device, block, 0, block.length, 0);
      closeSync(device);
      const uuid = block.subarray(1024 + 0x68, 1024 + 0x78);
      for (const group of [0, 1]) {
        const descriptor = block.subarray(BLOCK_SIZE + group * 32, BLOCK_SIZE + (group + 1) * 32);
        const number = Uint8Array.of(group, 0, 0, 0);
        const expected = crc16(Buffer.concat([uuid, number, descriptor.subarray(0, 30)]), 0xffff);
        expect(descriptor.readUInt16LE(30)).toBe(expected);
      }
    });
  });
});
