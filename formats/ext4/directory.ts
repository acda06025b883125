/**
 * Directories in blocks: one block of entries, or an index by hash over leaf blocks (feature `dir_index`), so that a
 * look-up in a directory of 100,000 names reads three blocks. A later layer rewrites only the leaves whose names changed.
 */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { viewOf } from '../bytes/struct.ts';
import { HASH_HALF_MD4, hashName } from './dirhash.ts';
import type { Dirent, Inode } from './inode.ts';
import { BLOCK_SIZE, DIRENT_TYPE } from './layout.ts';

/** A leaf of an indexed directory: names whose hash is at least `hash` and below the next leaf's. */
interface Leaf {
  readonly hash: number;
  readonly block: number;
}

/** How a directory's names lie in its blocks. Block numbers are logical: positions in the directory's own content. */
export interface DirectoryLayout {
  /** Blocks in all. */
  readonly blocks: number;
  readonly indexed: boolean;
  /** Leaves in the order of their hashes; empty unless indexed. */
  readonly leaves: readonly Leaf[];
  /** Blocks of the second index level; empty while the root can hold all leaves. */
  readonly nodes: readonly number[];
}

/** A block of a directory to be written. */
export interface DirectoryBlock {
  readonly logical: number;
  readonly bytes: Uint8Array;
}

interface Item {
  readonly name: string;
  readonly dirent: Dirent;
  readonly major: number;
  readonly minor: number;
}

const ENTRY_HEADER = 8;
const DOT_ENTRY = 12;
/** Where the index entries start in the root (behind `.`, `..` and dx_root_info) and in a node (behind an empty entry). */
const ROOT_INDEX_OFFSET = 2 * DOT_ENTRY + 8;
const NODE_INDEX_OFFSET = 8;
const ROOT_LIMIT = (BLOCK_SIZE - ROOT_INDEX_OFFSET) / 8;
const NODE_LIMIT = (BLOCK_SIZE - NODE_INDEX_OFFSET) / 8;

/** Bytes of the entry for a name, padded to 4. */
function entrySize(name: string): number {
  return (ENTRY_HEADER + name.length + 3) & ~3;
}

/**
 * Lays the current names of `directory` into blocks, keeping as much as possible of `directory.layout`. Returns the new
 * layout and the blocks that differ from the last commit. `seed` is the superblock's hash seed.
 * AccelError `limit-exceeded` when more names share a hash than a block holds (only made on purpose).
 */
export function layOutDirectory(inode: Inode, seed: Uint32Array): { layout: DirectoryLayout; dirty: DirectoryBlock[] } {
  const directory = inode.directory!;
  const before = directory.layout;
  if (before?.indexed !== true) {
    let size = 2 * DOT_ENTRY;
    for (const name of directory.children.keys()) size += entrySize(name);
    if (size <= BLOCK_SIZE) {
      return {
        layout: { blocks: 1, indexed: false, leaves: [], nodes: [] },
        dirty: [{ logical: 0, bytes: encodeLinear(inode) }],
      };
    }
  }
  return before?.indexed === true ? updateIndexed(inode, before, seed) : buildIndexed(inode, seed);
}

function buildIndexed(inode: Inode, seed: Uint32Array): { layout: DirectoryLayout; dirty: DirectoryBlock[] } {
  const items = sortedItems(inode.directory!.children, seed);
  const parts = partition(items, BLOCK_SIZE, inode);
  const nodeCount = parts.length > ROOT_LIMIT ? Math.ceil(parts.length / NODE_LIMIT) : 0;
  const nodes = Array.from({ length: nodeCount }, (_, i) => 1 + i);
  const leaves = parts.map((part, i) => ({ hash: i === 0 ? 0 : part[0]!.major, block: 1 + nodeCount + i }));
  const layout: DirectoryLayout = { blocks: 1 + nodeCount + leaves.length, indexed: true, leaves, nodes };
  const dirty = parts.map((part, i) => ({ logical: leaves[i]!.block, bytes: encodeLeaf(part) }));
  return { layout, dirty: [...encodeIndex(inode, layout), ...dirty] };
}

function updateIndexed(
  inode: Inode,
  before: DirectoryLayout,
  seed: Uint32Array,
): { layout: DirectoryLayout; dirty: DirectoryBlock[] } {
  const directory = inode.directory!;
  const touched = new Map<number, Item[]>();
  for (const name of directory.changed ?? []) touched.set(leafOf(before.leaves, hashName(name, seed).major), []);
  for (const [name, dirent] of directory.children) {
    const hash = hashName(name, seed);
    touched.get(leafOf(before.leaves, hash.major))?.push({ name, dirent, ...hash });
  }
  const leaves: Leaf[] = [];
  const dirty: DirectoryBlock[] = [];
  let blocks = before.blocks;
  before.leaves.forEach((leaf, index) => {
    leaves.push(leaf);
    const items = touched.get(index)?.sort(byHash);
    if (items === undefined) return;
    const size = items.reduce((sum, item) => sum + entrySize(item.name), 0);
    // A leaf that overflows is cut into equal parts, so that the next layer's names find room in each.
    const pieces = Math.ceil(size / BLOCK_SIZE);
    const limit = pieces > 1 ? Math.min(BLOCK_SIZE, Math.ceil(size / pieces) + entrySize('x'.repeat(255))) : BLOCK_SIZE;
    const parts = items.length === 0 ? [[]] : partition(items, limit, inode);
    dirty.push({ logical: leaf.block, bytes: encodeLeaf(parts[0]!) });
    for (const part of parts.slice(1)) {
      leaves.push({ hash: part[0]!.major, block: blocks });
      dirty.push({ logical: blocks, bytes: encodeLeaf(part) });
      blocks++;
    }
  });
  const nodes = [...before.nodes];
  const nodeCount = leaves.length > ROOT_LIMIT ? Math.ceil(leaves.length / NODE_LIMIT) : 0;
  while (nodes.length < nodeCount) nodes.push(blocks++);
  const layout: DirectoryLayout = { blocks, indexed: true, leaves, nodes };
  if (leaves.length !== before.leaves.length) dirty.push(...encodeIndex(inode, layout));
  return { layout, dirty };
}

/** Position of the leaf that holds names of hash `major`. */
function leafOf(leaves: readonly Leaf[], major: number): number {
  let low = 0;
  let high = leaves.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (leaves[middle]!.hash <= major) low = middle;
    else high = middle;
  }
  return low;
}

function sortedItems(children: ReadonlyMap<string, Dirent>, seed: Uint32Array): Item[] {
  return [...children].map(([name, dirent]) => ({ name, dirent, ...hashName(name, seed) })).sort(byHash);
}

function byHash(a: Item, b: Item): number {
  return a.major - b.major || a.minor - b.minor || (a.name < b.name ? -1 : 1);
}

/** Cuts sorted items into runs of at most `limit` bytes, never between two of the same hash. */
function partition(items: readonly Item[], limit: number, inode: Inode): Item[][] {
  const parts: Item[][] = [];
  let part: Item[] = [];
  let size = 0;
  for (let from = 0; from < items.length; ) {
    let to = from;
    let group = 0;
    while (to < items.length && items[to]!.major === items[from]!.major) group += entrySize(items[to++]!.name);
    if (group > BLOCK_SIZE) {
      throw new AccelError('limit-exceeded', 'too many names of a directory have the same hash', {
        where: { inode: inode.number, name: printable(items[from]!.name) },
        expected: `at most ${BLOCK_SIZE} bytes of names with one hash`,
        found: `${to - from} names`,
      });
    }
    if (size + group > limit && part.length > 0) {
      parts.push(part);
      part = [];
      size = 0;
    }
    part.push(...items.slice(from, to));
    size += group;
    from = to;
  }
  parts.push(part);
  return parts;
}

class EntryBlock {
  readonly bytes = new Uint8Array(BLOCK_SIZE);
  readonly #view = viewOf(this.bytes);
  #next = 0;
  #last = -1;

  /** Appends an entry; the last one reaches to the end of the block. */
  add(name: string, inode: number, type: number): void {
    const offset = this.#next;
    this.#view.setUint32(offset, inode, true);
    this.bytes[offset + 6] = name.length;
    this.bytes[offset + 7] = type;
    for (let i = 0; i < name.length; i++) this.bytes[offset + ENTRY_HEADER + i] = name.charCodeAt(i);
    this.#next += entrySize(name);
    if (this.#last >= 0) this.#setLength(this.#last, offset - this.#last);
    this.#last = offset;
    this.#setLength(offset, BLOCK_SIZE - offset);
  }

  #setLength(offset: number, length: number): void {
    this.#view.setUint16(offset + 4, length, true);
  }
}

function encodeLinear(inode: Inode): Uint8Array {
  const block = new EntryBlock();
  block.add('.', inode.number, DIRENT_TYPE.directory);
  block.add('..', inode.directory!.parent.number, DIRENT_TYPE.directory);
  for (const [name, { inode: child }] of inode.directory!.children)
    block.add(name, child.number, DIRENT_TYPE[child.type]);
  return block.bytes;
}

function encodeLeaf(items: readonly Item[]): Uint8Array {
  const block = new EntryBlock();
  for (const { name, dirent } of items) block.add(name, dirent.inode.number, DIRENT_TYPE[dirent.inode.type]);
  if (items.length === 0) block.add('', 0, 0);
  return block.bytes;
}

/** The blocks of the index: the root and, when there are nodes, each of them. */
function encodeIndex(inode: Inode, layout: DirectoryLayout): DirectoryBlock[] {
  const root = new EntryBlock();
  root.add('.', inode.number, DIRENT_TYPE.directory);
  root.add('..', inode.directory!.parent.number, DIRENT_TYPE.directory);
  // dx_root_info: reserved u32, hash version, its own length, index levels below the root, flags.
  root.bytes.set([0, 0, 0, 0, HASH_HALF_MD4, 8, layout.nodes.length > 0 ? 1 : 0, 0], 2 * DOT_ENTRY);
  if (layout.nodes.length === 0) {
    encodeIndexEntries(root.bytes, ROOT_INDEX_OFFSET, ROOT_LIMIT, layout.leaves);
    return [{ logical: 0, bytes: root.bytes }];
  }
  const perNode = Math.ceil(layout.leaves.length / layout.nodes.length);
  const tops: Leaf[] = [];
  const blocks = layout.nodes.map((logical, i) => {
    const part = layout.leaves.slice(i * perNode, (i + 1) * perNode);
    const node = new EntryBlock();
    node.add('', 0, 0);
    encodeIndexEntries(node.bytes, NODE_INDEX_OFFSET, NODE_LIMIT, part);
    tops.push({ hash: part[0]!.hash, block: logical });
    return { logical, bytes: node.bytes };
  });
  encodeIndexEntries(root.bytes, ROOT_INDEX_OFFSET, ROOT_LIMIT, tops);
  return [{ logical: 0, bytes: root.bytes }, ...blocks];
}

/** Entries of hash and block; the first one's hash is implied, its place holds limit and count. */
function encodeIndexEntries(bytes: Uint8Array, offset: number, limit: number, entries: readonly Leaf[]): void {
  if (entries.length > limit)
    throw new AccelError('limit-exceeded', 'a directory has too many names', {
      expected: limit,
      found: entries.length,
    });
  const view = viewOf(bytes);
  entries.forEach((entry, i) => {
    view.setUint32(offset + i * 8, entry.hash, true);
    view.setUint32(offset + i * 8 + 4, entry.block, true);
  });
  view.setUint16(offset, limit, true);
  view.setUint16(offset + 2, entries.length, true);
}

/** An entry of a directory as it was read. `type` is the number of {@link DIRENT_TYPE}. */
export interface RawDirent {
  readonly name: string;
  readonly inode: number;
  readonly type: number;
}

/** The used entries of a directory block, `.` and `..` included. AccelError `ext4-invalid` for broken lengths. */
export function decodeDirectoryBlock(bytes: Uint8Array, where: { readonly inode: number }): RawDirent[] {
  const view = viewOf(bytes);
  const out: RawDirent[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const fits = offset + ENTRY_HEADER <= bytes.length;
    const length = fits ? view.getUint16(offset + 4, true) || 0x1_0000 : 0;
    const nameLength = fits ? bytes[offset + 6]! : 0;
    if (length < ENTRY_HEADER + nameLength || length % 4 !== 0 || offset + length > bytes.length) {
      throw new AccelError('ext4-invalid', 'a directory entry is damaged', {
        where: { ...where, byte: offset },
        found: `length ${length}`,
      });
    }
    const inode = view.getUint32(offset, true);
    if (inode !== 0 && nameLength > 0) {
      const name = Buffer.from(bytes.subarray(offset + ENTRY_HEADER, offset + ENTRY_HEADER + nameLength)).toString(
        'latin1',
      );
      // Whoever copies a tree out of a hostile image may trust that a name is one component of a path.
      if (name.includes('/') || name.includes('\0')) {
        throw new AccelError('ext4-invalid', 'a name in a directory is none', {
          where: { ...where, byte: offset },
          found: printable(name),
        });
      }
      out.push({ name, inode, type: bytes[offset + 7]! });
    }
    offset += length;
  }
  return out;
}

/** How the names of a directory lie in its blocks, read from the blocks as {@link layOutDirectory} wrote them. */
export function decodeDirectoryLayout(blocks: readonly Uint8Array[], isIndexed: boolean): DirectoryLayout {
  if (!isIndexed) return { blocks: blocks.length, indexed: false, leaves: [], nodes: [] };
  const root = blocks[0]!;
  const tops = decodeIndexEntries(root, ROOT_INDEX_OFFSET, 0);
  const levels = root[2 * DOT_ENTRY + 6]!;
  if (levels === 0) return { blocks: blocks.length, indexed: true, leaves: tops, nodes: [] };
  const nodes = tops.map((top) => top.block);
  const leaves = tops.flatMap((top) => decodeIndexEntries(blockAt(blocks, top.block), NODE_INDEX_OFFSET, top.hash));
  return { blocks: blocks.length, indexed: true, leaves, nodes };
}

function decodeIndexEntries(bytes: Uint8Array, offset: number, firstHash: number): Leaf[] {
  const view = viewOf(bytes);
  const count = view.getUint16(offset + 2, true);
  if (offset + count * 8 > bytes.length)
    throw new AccelError('ext4-invalid', 'the index of a directory is damaged', { found: `${count} entries` });
  return Array.from({ length: count }, (_, i) => ({
    hash: i === 0 ? firstHash : view.getUint32(offset + i * 8, true),
    block: view.getUint32(offset + i * 8 + 4, true),
  }));
}

function blockAt(blocks: readonly Uint8Array[], logical: number): Uint8Array {
  const block = blocks[logical];
  if (block === undefined)
    throw new AccelError('ext4-invalid', 'the index of a directory leads out of it', { found: logical });
  return block;
}
