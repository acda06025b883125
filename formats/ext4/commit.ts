/** Committing a layer: blocks for everything that changed, then the changed blocks themselves. */
import { ascending, type MetadataBlock } from './allocator.ts';
import { layOutDirectory } from './directory.ts';
import { type Extent, encodeExtentTree, extentTreeBlocks } from './extents.ts';
import type { Ext4Image } from './image.ts';
import { encodeInode, type Inode } from './inode.ts';
import { BLOCK_SIZE, INODE_SIZE, INODES_PER_BLOCK } from './layout.ts';
import { encodeSuperblock, HASH_SEED } from './superblock.ts';

/**
 * Yields the metadata blocks that differ from the last commit, ascending, and forgets the changes.
 *
 * Directories, attributes and extent trees get their blocks here, behind the file data of the layer and not among it:
 * directories first and in the order of their inodes, so that a walk of the tree reads one region of the device.
 */
export function* commitLayer(image: Ext4Image): Generator<MetadataBlock> {
  const { changes, allocator } = image;
  const blocks: MetadataBlock[] = [];
  for (const inode of byNumber(changes.directories)) blocks.push(...placeDirectory(image, inode));
  for (const inode of byNumber(changes.inodes)) {
    if (inode.type === 'symlink' && !inode.isFastSymlink && inode.extents.length === 0)
      blocks.push(placeSymlink(image, inode));
    if (changes.xattrs.has(inode)) blocks.push(...placeXattrs(image, inode));
    blocks.push(...placeExtents(image, inode));
  }
  const tables = new Set<number>();
  for (const inode of changes.inodes) tables.add(Math.floor((inode.number - 1) / INODES_PER_BLOCK));
  for (const number of changes.released) tables.add(Math.floor((number - 1) / INODES_PER_BLOCK));

  yield { block: 0, bytes: encodeSuperblock(allocator) };
  yield* allocator.commit();
  for (const index of ascending(tables)) {
    yield { block: allocator.geometry.inodeTables + index, bytes: encodeTableBlock(image, index) };
  }
  yield* blocks.sort((a, b) => a.block - b.block);
  for (const set of Object.values(changes)) set.clear();
}

function byNumber(inodes: ReadonlySet<Inode>): Inode[] {
  return [...inodes].sort((a, b) => a.number - b.number);
}

function encodeTableBlock(image: Ext4Image, index: number): Uint8Array {
  const block = new Uint8Array(BLOCK_SIZE);
  for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
    const inode = image.inodes[index * INODES_PER_BLOCK + slot + 1];
    if (inode !== undefined) encodeInode(inode, block, slot * INODE_SIZE);
  }
  return block;
}

function placeDirectory(image: Ext4Image, inode: Inode): MetadataBlock[] {
  const directory = inode.directory!;
  const { layout, dirty } = layOutDirectory(inode, HASH_SEED);
  const had = directory.layout?.blocks ?? 0;
  if (layout.blocks > had) {
    image.allocate(inode, had, layout.blocks - had);
    inode.size = layout.blocks * BLOCK_SIZE;
  }
  directory.layout = layout;
  directory.changed = undefined;
  return dirty.map(({ logical, bytes }) => ({ block: physicalBlock(inode.extents, logical), bytes }));
}

function physicalBlock(extents: readonly Extent[], logical: number): number {
  const extent = extents.find((e) => logical >= e.logical && logical < e.logical + e.count)!;
  return extent.physical + logical - extent.logical;
}

function placeSymlink(image: Ext4Image, inode: Inode): MetadataBlock {
  const bytes = new Uint8Array(BLOCK_SIZE);
  bytes.set(Buffer.from(inode.target ?? '', 'latin1'));
  return { block: image.allocate(inode, 0, 1), bytes };
}

function placeXattrs(image: Ext4Image, inode: Inode): MetadataBlock[] {
  const bytes = inode.encodedXattrs?.block;
  if (bytes === undefined) {
    if (inode.xattrBlock !== 0) image.release(inode.xattrBlock, 1);
    inode.xattrBlock = 0;
    return [];
  }
  if (inode.xattrBlock === 0) inode.xattrBlock = image.allocator.allocateBlocks(1);
  return [{ block: inode.xattrBlock, bytes }];
}

/** Rewrites the extent tree of an inode whose extents do not fit its root. Such inodes are few: no diffing of nodes. */
function placeExtents(image: Ext4Image, inode: Inode): readonly MetadataBlock[] {
  const needed = extentTreeBlocks(inode.extents.length);
  if (needed === 0) return [];
  const blocks = [...inode.extentBlocks];
  if (needed > blocks.length) {
    const first = image.allocator.allocateBlocks(needed - blocks.length);
    for (let i = 0; needed > blocks.length; i++) blocks.push(first + i);
  }
  inode.extentBlocks = blocks;
  const tree = encodeExtentTree(inode.extents, blocks);
  inode.extentRoot = tree.root;
  return tree.blocks;
}
