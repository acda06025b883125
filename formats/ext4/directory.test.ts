import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { withMounted } from '../../tests/support/ext4-judge.ts';
import { describeWith, isRoot, run, withTempDirectory } from '../../tests/support/tools.ts';
import { decodeDirectoryBlock } from './directory-entries.ts';
import { BLOCK_SIZE, INODE_FLAG } from './layout.ts';
import { Ext4Reader } from './reader.ts';
import { type ImageBox, withImage } from './testing/image-box.ts';
import { openDevice } from './testing/reader-tree.ts';

const ROOMY = { virtualSize: 2 ** 31 };

const tar = (): TarBuilder => new TarBuilder({ mtime: '1700000000' });

/** A layer with one empty file and a hard link to it under each name: cheap names by the thousand. */
function linksNamed(names: Iterable<string>): TarBuilder {
  const layer = tar();
  let target = '';
  let links = 0;
  for (const name of names) {
    if (links++ % 60_000 === 0) {
      layer.file(name, '');
      target = name;
    } else layer.link(name, target);
  }
  return layer;
}

function numbered(prefix: string, count: number, digits = 6): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(digits, '0')}`);
}

/** The directory `/d` on disk: blocks, whether indexed, index levels below the root. */
async function shapeOf(box: ImageBox): Promise<{ blocks: number; indexed: boolean; levels: number }> {
  const device = await openDevice(box.path);
  try {
    const reader = await Ext4Reader.open(device);
    const inode = (await reader.lookup(await reader.root(), 'd'))!;
    const indexed = (inode.flags & INODE_FLAG.index) !== 0;
    const bytes = await reader.bytes(inode);
    return { blocks: inode.size / BLOCK_SIZE, indexed, levels: indexed ? bytes[30]! : 0 };
  } finally {
    await device.close();
  }
}

/**
 * Looks every name up by its path: in the kernel, which walks the hash index, or by debugfs's `stat`; names in
 * `absent` must not be found.
 */
async function lookUp(box: ImageBox, names: readonly string[], absent: readonly string[] = []): Promise<void> {
  await withTempDirectory(async (directory) => {
    const list = join(directory, 'names');
    await run('sh', ['-c', 'cat >"$1"', 'sh', list], {
      input: Buffer.from([...names, ...absent].join('\n'), 'latin1'),
    });
    const { stdout } = isRoot()
      ? await withMounted(box.path, (mounted) => run('python3', ['-c', LOOK_UP, mounted, list]))
      : await run('python3', ['-c', LIST, box.path, list]);
    const found = stdout.toString('latin1').split('\n');
    expect(found.slice(0, -1)).toEqual(absent);
  });
}

/** Prints the names that the kernel does not find; exits 1 if a listing of the directory disagrees. */
const LOOK_UP = String.raw`
import os, sys
root, names = os.fsencode(sys.argv[1]), open(sys.argv[2], 'rb').read().split(b'\n')
gone = [name for name in names if not os.path.lexists(os.path.join(root, name))]
listed = {b'd/' + name for name in os.listdir(root + b'/d')}
assert listed == {name for name in names if name.startswith(b'd/')} - set(gone), 'the listing differs'
sys.stdout.buffer.write(b''.join(name + b'\n' for name in gone))
`;

/** The same by debugfs, which lists. */
const LIST = String.raw`
import re, subprocess, sys
names = open(sys.argv[2], 'rb').read().split(b'\n')
out = subprocess.run(['debugfs', '-R', 'ls -p /d', sys.argv[1]], stdout=subprocess.PIPE, check=True).stdout
listed = {b'd/' + name for name in re.findall(rb'^/\d+/\d*/\d*/\d*/(.*)/\d*/$', out, re.MULTILINE)}
sys.stdout.buffer.write(b''.join(name + b'\n' for name in names if name not in listed))
`;

describeWith({ tools: ['e2fsck', 'debugfs', 'python3'] }, 'directories', () => {
  // 24 bytes of `.` and `..`, then 16 for each name of 8 bytes: 254 and 8 bytes left over; 255 fit a leaf of their own.
  test.each([
    { count: 254, shape: { blocks: 1, indexed: false, levels: 0 } },
    { count: 255, shape: { blocks: 2, indexed: true, levels: 0 } },
    { count: 3000, shape: { indexed: true, levels: 0 } },
  ])('names_$count', async ({ count, shape }) => {
    await withImage(ROOMY, async (box) => {
      const names = numbered('d/n', count, 7);
      box.layer(linksNamed(names));
      await box.check();
      expect(await shapeOf(box)).toMatchObject(shape);
      await lookUp(box, names, ['d/none']);
    });
  });

  // A leaf holds 15 names of 255 bytes, the root 508 leaves, a node 511.
  test.each([
    { leaves: 508, levels: 0 },
    { leaves: 509, levels: 1 },
    { leaves: 1100, levels: 1 },
  ])('leaves_$leaves', async ({ leaves, levels }) => {
    await withImage(ROOMY, async (box) => {
      const names = Array.from({ length: leaves * 15 }, (_, i) => `d/${String(i).padStart(255, 'n')}`);
      box.layer(linksNamed(names));
      await box.check();
      expect(await shapeOf(box)).toEqual({
        blocks: 1 + leaves + (levels === 0 ? 0 : Math.ceil(leaves / 511)),
        indexed: true,
        levels,
      });
      await lookUp(box, names);
    });
  });

  test('100,000 names, and layers on top write little more than what they change', { timeout: 180_000 }, async () => {
    await withImage(ROOMY, async (box) => {
      const names = numbered('d/file-', 100_000);
      box.layer(linksNamed(names));
      await box.check();
      await lookUp(box, names, ['d/file-100000']);

      const added = box.layer(tar().file('d/one-more', 'x'));
      await box.check();
      // Superblock, descriptors, two bitmaps, inode table, leaf; and where the leaf was full its sibling and the index.
      expect(added.metadata.length).toBeLessThanOrEqual(10);
      const removed = box.layer(tar().whiteout(names[777]!).whiteout(names[99_999]!));
      expect(removed.metadata.length).toBeLessThanOrEqual(8);
      const replaced = box.layer(tar().file(names[5]!, 'own now'));
      expect(replaced.metadata.length).toBeLessThanOrEqual(8);
      await box.check();

      // Enough to split every leaf, and to grow the index by a level.
      const more = numbered('d/added-in-a-later-layer-', 60_000, 20);
      box.layer(linksNamed(more));
      await box.check();
      expect(await shapeOf(box)).toMatchObject({ levels: 1 });
      const standing = names.filter((name) => name !== names[777] && name !== names[99_999]);
      await lookUp(box, [...standing, 'd/one-more', ...more], [names[777]!, names[99_999]!]);

      box.layer(more.reduce((layer, name) => layer.whiteout(name), tar()));
      box.layer(tar().file('d/after', 'x'));
      await box.check();
      await lookUp(box, [...standing, 'd/one-more', 'd/after'], more.slice(0, 5));
      box.layer(tar().whiteout('d'));
      await box.check();
      expect(await box.paths()).toEqual(['d /']);
    });
  });

  test('a directory that many layers grow stays sound: extents, leaf splits, index levels', async () => {
    await withImage(ROOMY, async (box) => {
      const all: string[] = [];
      for (let layer = 0; layer < 40; layer++) {
        const names = numbered(`d/layer-${layer}-${'n'.repeat(layer * 4)}`, 30 + layer * 5);
        all.push(...names);
        box.layer(linksNamed(names));
        if (layer % 8 === 0) await box.check();
      }
      await box.check();
      await lookUp(box, all);
      box.layer(tar().whiteout('d'));
      await box.check();
    });
  });

  test('a directory of more than 65,000 links counts 1, and is counted again when it has fewer', {
    timeout: 180_000,
  }, async () => {
    await withImage(ROOMY, async (box) => {
      const linksOf = async (): Promise<number> => {
        const device = await openDevice(box.path);
        const reader = await Ext4Reader.open(device);
        const inode = (await reader.lookup(await reader.root(), 'd'))!;
        await device.close();
        return inode.links;
      };
      const layer = tar();
      for (let i = 0; i < 64_998; i++) layer.dir(`d/${i}/`);
      box.layer(layer);
      await box.check();
      expect(await linksOf()).toBe(65_000);
      box.layer(tar().dir('d/x/'));
      await box.check();
      expect(await linksOf()).toBe(1);
      box.layer(tar().whiteout('d/7').whiteout('d/8'));
      await box.check();
      expect(await linksOf()).toBe(64_999);
    });
  });
});

describe('decodeDirectoryBlock', () => {
  const entry = (inode: number, length: number, name: string): Buffer => {
    const bytes = Buffer.alloc(length);
    bytes.writeUInt32LE(inode, 0);
    bytes.writeUInt16LE(length, 4);
    bytes[6] = name.length;
    bytes[7] = 1;
    bytes.write(name, 8, 'latin1');
    return bytes;
  };
  const where = { inode: 12 };

  test('reads names up to the end of the block and leaves out what is deleted', () => {
    const block = Buffer.concat([entry(5, 12, 'a'), entry(0, 16, 'deleted'), entry(7, 4068, 'caf\xe9')]);
    expect(decodeDirectoryBlock(block, where)).toEqual([
      { name: 'a', inode: 5, type: 1 },
      { name: 'caf\xe9', inode: 7, type: 1 },
    ]);
  });

  test.each([
    ['length_0', entry(5, 12, 'a').fill(0, 4, 6)],
    ['length_past_the_end', Buffer.concat([entry(5, 12, 'a'), entry(5, 16, 'b').subarray(0, 12)])],
    ['length_below_name', Buffer.concat([entry(5, 12, 'abcd').fill(0xff, 6, 7), Buffer.alloc(12)])],
    ['length_odd', entry(5, 14, 'a')],
    ['four_bytes_left', Buffer.concat([entry(5, 12, 'a'), Buffer.alloc(4)])],
    ['slash', entry(5, 20, '../passwd')],
    ['nul', entry(5, 12, 'a\0b')],
  ])('%s is refused', (_, block) => {
    expect(() => decodeDirectoryBlock(block, where)).toThrow(expect.objectContaining({ code: 'ext4-invalid' }));
  });
});
