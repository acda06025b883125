/**
 * Finding a name in an indexed directory (feature `dir_index`; docs: Linux, ext4/directory.rst, "Hash Tree Directories"):
 * the index leads to the one leaf that can hold it, so that a look-up in 100,000 names reads three blocks.
 */
import { viewOf } from '../bytes/struct.ts';
import { decodeDirectoryBlock, type RawDirent } from './directory-entries.ts';
import { FLAG_UNSIGNED_HASH, HASH_HALF_MD4, hashName } from './dirhash.ts';

/** The fields of the superblock that decide the hash. */
export interface HashParameters {
  /** `s_hash_seed` as four little-endian words. */
  readonly seed: Uint32Array;
  /** `s_flags`. */
  readonly flags: number;
}

/** Reads a directory's block by its position in the directory. */
export type ReadDirectoryBlock = (logical: number) => Promise<Uint8Array>;

/** dx_root: `.` and `..` take 12 bytes each, then dx_root_info. */
const INFO_OFFSET = 24;
const INFO_SIZE = 8;
/** dx_node: one empty entry that spans the block. */
const NODE_ENTRIES_OFFSET = 8;
const ENTRY_SIZE = 8;
/** Levels below the root, as the kernel has them with `largedir`. */
const MAX_LEVELS = 3;
/** Bit of an entry's hash: names of the hash before it go on in this leaf. */
const CONTINUED = 1;

/**
 * The entry of `name` in a directory of `blocks` blocks, or undefined if it has no such entry. Answers `'unknown'` when the index
 * cannot be used: a hash that accel does not compute, a damaged index, a hash that spans two leaves. Then every block has
 * to be looked at. Throws `ext4-invalid` for a damaged leaf.
 */
export async function findInIndex(
  read: ReadDirectoryBlock,
  directory: { readonly number: number; readonly blocks: number },
  name: string,
  parameters: HashParameters,
): Promise<RawDirent | undefined | 'unknown'> {
  let node = await read(0);
  const version = node[INFO_OFFSET + 4]!;
  const levels = node[INFO_OFFSET + 6]!;
  if (!isKnownHash(version, name, parameters.flags) || node[INFO_OFFSET + 5] !== INFO_SIZE || levels > MAX_LEVELS)
    return 'unknown';
  const hash = hashName(name, parameters.seed).major;
  let entries = INFO_OFFSET + INFO_SIZE;
  let following: number | undefined;
  for (let level = levels; ; level--) {
    const step = descend(node, entries, hash);
    if (step === undefined || step.block >= directory.blocks) return 'unknown';
    following = step.following ?? following;
    node = await read(step.block);
    if (level === 0) break;
    entries = NODE_ENTRIES_OFFSET;
  }
  const found = decodeDirectoryBlock(node, { inode: directory.number }).find((entry) => entry.name === name);
  if (found === undefined && following === hash + CONTINUED) return 'unknown';
  return found;
}

/** Whether {@link hashName} computes this: unsigned half-MD4, or the signed one where no byte has a sign. */
function isKnownHash(version: number, name: string, flags: number): boolean {
  if (version !== HASH_HALF_MD4) return false;
  return (flags & FLAG_UNSIGNED_HASH) !== 0 || /^[\0-\x7f]*$/.test(name);
}

/** The child of a node for a hash, and the hash from which on another child is meant; undefined for a damaged node. */
function descend(
  node: Uint8Array,
  offset: number,
  hash: number,
): { readonly block: number; readonly following: number | undefined } | undefined {
  const view = viewOf(node);
  const limit = view.getUint16(offset, true);
  const count = view.getUint16(offset + 2, true);
  if (count === 0 || count > limit || offset + limit * ENTRY_SIZE > node.length) return undefined;
  let low = 0;
  let high = count;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (view.getUint32(offset + middle * ENTRY_SIZE, true) <= hash) low = middle;
    else high = middle;
  }
  const following = high < count ? view.getUint32(offset + high * ENTRY_SIZE, true) : undefined;
  // The upper bits of a block number are reserved.
  return { block: view.getUint32(offset + low * ENTRY_SIZE + 4, true) & 0x0fff_ffff, following };
}
