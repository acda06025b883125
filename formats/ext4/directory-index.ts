/**
 * The index of a large directory (feature `dir_index`): a root, possibly a level of nodes, and leaves of entries by the
 * hash of their names. Block numbers are logical: positions in the directory's own content.
 */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { EntryBlock } from './directory-entries.ts';
import { HASH_HALF_MD4 } from './dirhash.ts';
import { BLOCK_SIZE, DIRENT_TYPE, indexCountLimit, indexEntry, indexRootInfo } from './layout.ts';

const DOT_ENTRY = 12;
const INFO_OFFSET = 2 * DOT_ENTRY;
/** Where the entries start in the root (behind `.`, `..` and dx_root_info) and in a node (behind an unused entry). */
const ROOT_INDEX_OFFSET = INFO_OFFSET + indexRootInfo.size;
const NODE_INDEX_OFFSET = 8;
/** Entries of the root. */
export const ROOT_LIMIT = (BLOCK_SIZE - ROOT_INDEX_OFFSET) / indexEntry.size;
/** Entries of a node below the root. */
export const NODE_LIMIT = (BLOCK_SIZE - NODE_INDEX_OFFSET) / indexEntry.size;
const DOTS = Uint8Array.of(0x2e, 0x2e);

/** The places of the names of an indexed directory in its blocks. */
export interface DirectoryIndex {
  /** Pairs of lowest hash and block, a pair for each leaf, by hash; the first hash is 0. */
  leaves: Uint32Array;
  /** Blocks of the second index level; empty while the root can hold all leaves. */
  nodes: readonly number[];
  /** Numbers of the leaves whose names changed since the last commit. */
  readonly touched: Set<number>;
}

/** Number of the leaf that holds names of hash `major`. */
export function leafOf(leaves: Uint32Array, major: number): number {
  let low = 0;
  let high = leaves.length / 2;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (leaves[2 * middle]! <= major) low = middle;
    else high = middle;
  }
  return low;
}

/** Nodes that an index over so many leaves has between them and the root. */
export function nodesFor(leaves: number): number {
  return leaves > ROOT_LIMIT ? Math.ceil(leaves / NODE_LIMIT) : 0;
}

/** Starts a directory's first block with `.` and `..`, in `memory` where it is given. */
export function firstBlock(directory: number, parent: number, memory?: Uint8Array): EntryBlock {
  const block = new EntryBlock(memory);
  block.add(DOTS, 0, 1, { inode: directory, type: DIRENT_TYPE.directory });
  block.add(DOTS, 0, 2, { inode: parent, type: DIRENT_TYPE.directory });
  return block;
}

/**
 * Block `number` of the index: the root for 0, node `number - 1` otherwise. Throws `limit-exceeded` for a directory of
 * more leaves than two levels hold.
 */
export function encodeIndexBlock(
  { leaves, nodes }: Pick<DirectoryIndex, 'leaves' | 'nodes'>,
  number: number,
  directory: number,
  parent: number,
): Uint8Array {
  const perNode = Math.ceil(leaves.length / 2 / nodes.length);
  if (number > 0) {
    const node = new EntryBlock();
    node.addUnused();
    const part = leaves.subarray(2 * (number - 1) * perNode, 2 * number * perNode);
    encodeEntries(node.bytes, NODE_INDEX_OFFSET, NODE_LIMIT, part);
    return node.bytes;
  }
  const { bytes } = firstBlock(directory, parent);
  indexRootInfo.write(bytes, INFO_OFFSET, {
    hash_version: HASH_HALF_MD4,
    info_length: indexRootInfo.size,
    indirect_levels: nodes.length > 0 ? 1 : 0,
  });
  const tops = nodes.length === 0 ? leaves : nodes.flatMap((block, i) => [leaves[2 * i * perNode]!, block]);
  encodeEntries(bytes, ROOT_INDEX_OFFSET, ROOT_LIMIT, tops);
  return bytes;
}

/** Entries of hash and block; the first one's hash is implied, its place holds limit and count. */
function encodeEntries(bytes: Uint8Array, offset: number, limit: number, pairs: ArrayLike<number>): void {
  const count = pairs.length / 2;
  if (count > limit)
    throw new AccelError('limit-exceeded', 'a directory has too many names', { expected: limit, found: count });
  const view = viewOf(bytes);
  for (let i = 0; i < pairs.length; i++) view.setUint32(offset + i * 4, pairs[i]!, true);
  indexCountLimit.write(bytes, offset, { limit, count });
}

/** The index of a directory, read from its blocks. AccelError `ext4-invalid` when it leads out of them. */
export function decodeIndex(blocks: readonly Uint8Array[]): DirectoryIndex {
  const root = blocks[0]!;
  const tops = decodeEntries(root, ROOT_INDEX_OFFSET, 0);
  const levels = root[INFO_OFFSET + indexRootInfo.offsets.indirect_levels]!;
  if (levels === 0) return { leaves: Uint32Array.from(tops), nodes: [], touched: new Set() };
  const nodes: number[] = [];
  const leaves: number[] = [];
  for (let i = 0; i < tops.length; i += 2) {
    const block = tops[i + 1]!;
    const node = blocks[block];
    if (node === undefined)
      throw new AccelError('ext4-invalid', 'the index of a directory leads out of it', { found: block });
    nodes.push(block);
    leaves.push(...decodeEntries(node, NODE_INDEX_OFFSET, tops[i]!));
  }
  return { leaves: Uint32Array.from(leaves), nodes, touched: new Set() };
}

function decodeEntries(bytes: Uint8Array, offset: number, firstHash: number): number[] {
  const { count } = indexCountLimit.read(bytes, offset);
  if (offset + count * indexEntry.size > bytes.length)
    throw new AccelError('ext4-invalid', 'the index of a directory is damaged', { found: `${count} entries` });
  const view = viewOf(bytes);
  const pairs = Array.from({ length: 2 * count }, (_, i) => view.getUint32(offset + i * 4, true));
  if (count > 0) pairs[0] = firstHash;
  return pairs;
}
