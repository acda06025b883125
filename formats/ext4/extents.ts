/** Extent trees: where the blocks of a file lie (docs: Linux, Documentation/filesystems/ext4/ifork.rst). */
import { AccelError } from '../../base/error.ts';
import type { MetadataBlock } from './allocator.ts';
import {
  BLOCK_SIZE,
  EXTENT_MAGIC,
  EXTENT_MAX_BLOCKS,
  extentHeader,
  extentIndex,
  extentLeaf,
  I_BLOCK_SIZE,
} from './layout.ts';

/** `count` blocks of a file from its block `logical` on, at block `physical` of the device. */
export interface Extent {
  readonly logical: number;
  readonly physical: number;
  readonly count: number;
}

/** Entries of a tree's root in `i_block`. */
export const ROOT_ENTRIES = (I_BLOCK_SIZE - extentHeader.size) / extentLeaf.size;
/** Entries of a node that is a block. */
export const NODE_ENTRIES = Math.floor((BLOCK_SIZE - extentHeader.size) / extentLeaf.size);
/** Deepest tree the kernel accepts. */
const MAX_DEPTH = 5;

/** A tree as it is written: the root for `i_block` and the blocks below it. */
export interface ExtentTree {
  readonly root: Uint8Array;
  readonly blocks: readonly MetadataBlock[];
}

/** Appends `count` blocks at the end of a list of extents, merging and splitting at the format's 128 MiB. */
export function appendExtent(extents: Extent[], logical: number, physical: number, count: number): void {
  let taken = 0;
  const last = extents.at(-1);
  if (last !== undefined && last.logical + last.count === logical && last.physical + last.count === physical) {
    taken = Math.min(EXTENT_MAX_BLOCKS - last.count, count);
    extents[extents.length - 1] = { ...last, count: last.count + taken };
  }
  for (; taken < count; ) {
    const length = Math.min(EXTENT_MAX_BLOCKS, count - taken);
    extents.push({ logical: logical + taken, physical: physical + taken, count: length });
    taken += length;
  }
}

/** How many blocks below the root a tree of `extents` extents needs. */
export function extentTreeBlocks(extents: number): number {
  let blocks = 0;
  for (let width = extents; width > ROOT_ENTRIES; ) {
    width = Math.ceil(width / NODE_ENTRIES);
    blocks += width;
  }
  return blocks;
}

/**
 * Builds the tree over `extents` (ascending, not overlapping). `blocks` are the device blocks of the nodes below the
 * root, at least {@link extentTreeBlocks} of them; the levels are laid into them from the leaves up.
 */
export function encodeExtentTree(extents: readonly Extent[], blocks: readonly number[]): ExtentTree {
  let entries: { logical: number; bytes: Uint8Array }[] = extents.map((extent) => ({
    logical: extent.logical,
    bytes: extentLeaf.encode({ ee_block: extent.logical, ee_len: extent.count, ...physicalFields(extent.physical) }),
  }));
  const written: MetadataBlock[] = [];
  let depth = 0;
  while (entries.length > ROOT_ENTRIES) {
    const parents: typeof entries = [];
    for (let from = 0; from < entries.length; from += NODE_ENTRIES) {
      const part = entries.slice(from, from + NODE_ENTRIES);
      const block = blocks[written.length];
      if (block === undefined) throw new AccelError('internal', 'an extent tree has too few blocks');
      written.push({ block, bytes: encodeNode(part, depth, BLOCK_SIZE, NODE_ENTRIES) });
      const logical = part[0]!.logical;
      parents.push({ logical, bytes: extentIndex.encode({ ei_block: logical, ei_leaf_lo: block }) });
    }
    entries = parents;
    depth++;
  }
  return { root: encodeNode(entries, depth, I_BLOCK_SIZE, ROOT_ENTRIES), blocks: written };
}

function physicalFields(physical: number): { ee_start_lo: number; ee_start_hi: number } {
  return { ee_start_lo: physical >>> 0, ee_start_hi: Math.floor(physical / 0x1_0000_0000) };
}

function encodeNode(entries: readonly { bytes: Uint8Array }[], depth: number, size: number, max: number): Uint8Array {
  const node = new Uint8Array(size);
  extentHeader.write(node, 0, { eh_magic: EXTENT_MAGIC, eh_entries: entries.length, eh_max: max, eh_depth: depth });
  entries.forEach((entry, i) => {
    node.set(entry.bytes, extentHeader.size + i * extentLeaf.size);
  });
  return node;
}

/** What a tree node says: extents if it is a leaf, else the blocks of its children. */
export interface ExtentNode {
  readonly depth: number;
  readonly extents: readonly (Extent & { readonly unwritten: boolean })[];
  readonly children: readonly number[];
}

/** Reads one node; AccelError `ext4-invalid` when its header is wrong. `where` names the inode in messages. */
export function decodeExtentNode(bytes: Uint8Array, where: { readonly inode: number }): ExtentNode {
  const header = extentHeader.read(bytes);
  const room = Math.floor((bytes.length - extentHeader.size) / extentLeaf.size);
  if (header.eh_magic !== EXTENT_MAGIC || header.eh_entries > room || header.eh_depth > MAX_DEPTH) {
    throw new AccelError('ext4-invalid', 'an extent tree node is damaged', {
      where,
      expected: `magic 0x${EXTENT_MAGIC.toString(16)}, at most ${room} entries, depth at most ${MAX_DEPTH}`,
      found: `magic 0x${header.eh_magic.toString(16)}, ${header.eh_entries} entries, depth ${header.eh_depth}`,
    });
  }
  const extents: (Extent & { unwritten: boolean })[] = [];
  const children: number[] = [];
  for (let i = 0; i < header.eh_entries; i++) {
    const offset = extentHeader.size + i * extentLeaf.size;
    if (header.eh_depth > 0) {
      const entry = extentIndex.read(bytes, offset);
      children.push(entry.ei_leaf_lo + entry.ei_leaf_hi * 0x1_0000_0000);
      continue;
    }
    const entry = extentLeaf.read(bytes, offset);
    const unwritten = entry.ee_len > EXTENT_MAX_BLOCKS;
    extents.push({
      logical: entry.ee_block,
      physical: entry.ee_start_lo + entry.ee_start_hi * 0x1_0000_0000,
      count: unwritten ? entry.ee_len - EXTENT_MAX_BLOCKS : entry.ee_len,
      unwritten,
    });
  }
  return { depth: header.eh_depth, extents, children };
}
