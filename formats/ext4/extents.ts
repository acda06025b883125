/** Extent trees: where the blocks of a file lie (docs: Linux, Documentation/filesystems/ext4/ifork.rst). */
import { AccelError } from '../../base/error.ts';
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

/** Nodes on each level of a tree of `extents` extents, the leaves first; none while the extents fit the root. */
function levelsOf(extents: number): number[] {
  const levels: number[] = [];
  for (let width = extents; width > ROOT_ENTRIES; ) {
    width = Math.ceil(width / NODE_ENTRIES);
    levels.push(width);
  }
  return levels;
}

/** The number of blocks below the root that a tree of `extents` extents needs. */
export function extentTreeBlocks(extents: number): number {
  return levelsOf(extents).reduce((sum, nodes) => sum + nodes, 0);
}

/** Extents (ascending, not overlapping), and the device blocks for the nodes below the root, the leaves first. */
export interface ExtentTree {
  readonly extents: readonly Extent[];
  readonly blocks: readonly number[];
}

/** The root of a tree, for `i_block`. */
export function extentTreeRoot(tree: ExtentTree): Uint8Array {
  const levels = levelsOf(tree.extents.length);
  const depth = levels.length;
  return encodeNode(tree, { depth, first: 0, count: levels.at(-1) ?? tree.extents.length }, I_BLOCK_SIZE);
}

/** Node `index` of a tree, counted over all levels from the first leaf on: what belongs into `tree.blocks[index]`. */
export function extentTreeNode(tree: ExtentTree, index: number): Uint8Array {
  let below = tree.extents.length;
  let inLevel = index;
  let depth = 0;
  for (const nodes of levelsOf(tree.extents.length)) {
    if (inLevel < nodes) break;
    inLevel -= nodes;
    below = nodes;
    depth++;
  }
  const first = inLevel * NODE_ENTRIES;
  return encodeNode(tree, { depth, first, count: Math.min(NODE_ENTRIES, below - first) }, BLOCK_SIZE);
}

/** The entries of a node: `count` from number `first` of the level below it. */
interface NodePart {
  readonly depth: number;
  readonly first: number;
  readonly count: number;
}

function encodeNode({ extents, blocks }: ExtentTree, { depth, first, count }: NodePart, size: number): Uint8Array {
  const node = new Uint8Array(size);
  const max = Math.floor((size - extentHeader.size) / extentLeaf.size);
  extentHeader.write(node, 0, { eh_magic: EXTENT_MAGIC, eh_entries: count, eh_max: max, eh_depth: depth });
  const levels = levelsOf(extents.length);
  const children = levels.slice(0, Math.max(0, depth - 1)).reduce((sum, nodes) => sum + nodes, 0);
  for (let i = 0; i < count; i++) {
    const at = extentHeader.size + i * extentLeaf.size;
    if (depth === 0) {
      const extent = extents[first + i]!;
      const fields = { ee_block: extent.logical, ee_len: extent.count, ...physicalFields(extent.physical) };
      extentLeaf.write(node, at, fields);
      continue;
    }
    const block = blocks[children + first + i];
    if (block === undefined) throw new AccelError('internal', 'an extent tree has too few blocks');
    const { logical } = extents[(first + i) * NODE_ENTRIES ** depth]!;
    extentIndex.write(node, at, { ei_block: logical, ei_leaf_lo: block });
  }
  return node;
}

function physicalFields(physical: number): { ee_start_lo: number; ee_start_hi: number } {
  return { ee_start_lo: physical >>> 0, ee_start_hi: Math.floor(physical / 0x1_0000_0000) };
}

/** The content of a tree node: extents if it is a leaf, else the blocks of its children. */
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
