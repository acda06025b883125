/** Reads an ext4 file system, accel's or any other with extents, from a device that is read as needed. */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { decodeDirectoryBlock, type RawDirent } from './directory-entries.ts';
import { decodeExtentNode, type Extent } from './extents.ts';
import { findInIndex, type HashParameters } from './htree.ts';
import { decodeInode, type RawInode } from './inode.ts';
import {
  I_BLOCK_SIZE,
  INCOMPAT,
  INODE_FLAG,
  ROOT_INODE,
  SUPER_MAGIC,
  SUPERBLOCK_OFFSET,
  superblock,
} from './layout.ts';
import { decodeXattrs } from './xattr.ts';

/** A device that is read in place: `read` resolves to exactly `length` bytes, or rejects. */
export interface BlockDevice {
  readonly size: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Incompatible features whose meaning this reader knows. */
const SUPPORTED =
  INCOMPAT.filetype |
  INCOMPAT.recover |
  INCOMPAT.extents |
  INCOMPAT.is64bit |
  INCOMPAT.flexBg |
  INCOMPAT.csumSeed |
  INCOMPAT.largedir;
/** Metadata blocks kept in memory: the neighbours of an inode are usually read next. */
const CACHED_BLOCKS = 256;
/** Bytes of content read at a time. */
const CONTENT_CHUNK = 1 << 21;

/** A name in a tree walk: its path from the root (Latin-1, `/a/b`) and its inode. */
export interface TreeEntry {
  readonly path: string;
  readonly inode: RawInode;
}

/** A file system opened for reading. Paths and names are Latin-1 strings, a character for each byte. */
export class Ext4Reader {
  readonly blockSize: number;
  readonly inodeCount: number;
  readonly #device: BlockDevice;
  readonly #inodeSize: number;
  readonly #inodesPerGroup: number;
  readonly #firstDataBlock: number;
  readonly #descriptorSize: number;
  readonly #groups: number;
  readonly #hash: HashParameters;
  readonly #cache = new Map<number, Promise<Uint8Array>>();

  private constructor(device: BlockDevice, s: Superblock) {
    const unknown = s.s_feature_incompat & ~SUPPORTED;
    if (s.s_magic !== SUPER_MAGIC || s.s_log_block_size > 6 || s.s_inodes_per_group === 0) {
      throw new AccelError('ext4-invalid', 'the device holds no ext4 file system', {
        expected: `magic 0x${SUPER_MAGIC.toString(16)}`,
        found: `magic 0x${s.s_magic.toString(16)}`,
      });
    }
    if (unknown !== 0) {
      throw new AccelError('ext4-invalid', 'the file system uses features that accel does not read', {
        found: `0x${unknown.toString(16)}`,
      });
    }
    this.#device = device;
    this.blockSize = 1024 << s.s_log_block_size;
    this.inodeCount = s.s_inodes_count;
    this.#inodeSize = s.s_rev_level === 0 ? 128 : s.s_inode_size;
    this.#inodesPerGroup = s.s_inodes_per_group;
    this.#firstDataBlock = s.s_first_data_block;
    this.#groups = Math.ceil(s.s_inodes_count / s.s_inodes_per_group);
    this.#hash = { seed: wordsOf(s.s_hash_seed), flags: s.s_flags };
    this.#descriptorSize = s.s_feature_incompat & INCOMPAT.is64bit ? s.s_desc_size : 32;
    // Powers of two: no inode and no descriptor lies across two blocks.
    if (!isPowerBetween(128, this.#inodeSize, this.blockSize) || !isPowerBetween(32, this.#descriptorSize, 1024)) {
      throw new AccelError('ext4-invalid', 'the superblock is damaged', {
        found: `inodes of ${this.#inodeSize} bytes, group descriptors of ${this.#descriptorSize}`,
      });
    }
  }

  /** Reads the superblock. AccelError `ext4-invalid` when it is missing or needs a feature that this reader does not know. */
  static async open(device: BlockDevice): Promise<Ext4Reader> {
    return new Ext4Reader(device, decodeSuperblock(await readWithin(device, SUPERBLOCK_OFFSET, superblock.size)));
  }

  /**
   * The bytes of the device that a mount reads before it looks anything up: the block of the superblock and all group
   * descriptors. (Bitmaps wait until something is written.)
   */
  mountExtents(): { readonly offset: number; readonly length: number }[] {
    const { blockSize } = this;
    const descriptors = Math.ceil((this.#groups * this.#descriptorSize) / blockSize) * blockSize;
    return [
      { offset: this.#firstDataBlock * blockSize, length: blockSize },
      { offset: (this.#firstDataBlock + 1) * blockSize, length: descriptors },
    ];
  }

  /** The root directory. */
  root(): Promise<RawInode> {
    return this.inode(ROOT_INODE);
  }

  /** The inode with a number. AccelError `ext4-invalid` when there is no such number. */
  async inode(number: number): Promise<RawInode> {
    if (number < 1 || number > this.inodeCount)
      throw new AccelError('ext4-invalid', 'there is no such inode', { where: { inode: number } });
    const group = Math.floor((number - 1) / this.#inodesPerGroup);
    const descriptor = await this.#bytes(
      (this.#firstDataBlock + 1) * this.blockSize + group * this.#descriptorSize,
      this.#descriptorSize,
    );
    const view = viewOf(descriptor);
    const high = this.#descriptorSize >= 64 ? view.getUint32(0x28, true) : 0;
    const table = view.getUint32(8, true) + high * 0x1_0000_0000;
    const index = (number - 1) % this.#inodesPerGroup;
    return decodeInode(number, await this.#bytes(table * this.blockSize + index * this.#inodeSize, this.#inodeSize));
  }

  /** Names of a directory in the order on disk, without `.` and `..`. */
  async *entries(directory: RawInode): AsyncGenerator<RawDirent> {
    if (directory.type !== 'directory')
      throw new AccelError('ext4-invalid', 'not a directory', { where: { inode: directory.number } });
    for await (const block of this.content(directory)) {
      for (let at = 0; at < block.length; at += this.blockSize) {
        const where = { inode: directory.number };
        for (const entry of decodeDirectoryBlock(block.subarray(at, at + this.blockSize), where)) {
          if (entry.name !== '.' && entry.name !== '..') yield entry;
        }
      }
    }
  }

  /** The inode that a directory has under a name, if any: through the directory's index where it has one. */
  async lookup(directory: RawInode, name: string): Promise<RawInode | undefined> {
    if (directory.type === 'directory' && (directory.flags & INODE_FLAG.index) !== 0) {
      const blocks = Math.floor(directory.size / this.blockSize);
      const read = (logical: number) => this.#directoryBlock(directory, logical);
      const found = await findInIndex(read, { number: directory.number, blocks }, name, this.#hash);
      if (found !== 'unknown') return found && this.inode(found.inode);
    }
    for await (const entry of this.entries(directory)) {
      if (entry.name === name) return this.inode(entry.inode);
    }
    return undefined;
  }

  /** Everything below the root, each directory before its content, names in byte order. Depth costs no stack. */
  async *walk(): AsyncGenerator<TreeEntry> {
    const pending: TreeEntry[] = [{ path: '/', inode: await this.root() }];
    const open = new Set<number>();
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      yield at;
      if (at.inode.type !== 'directory') continue;
      if (open.has(at.inode.number))
        throw new AccelError('ext4-invalid', 'a directory is in the tree twice', { where: { path: at.path } });
      open.add(at.inode.number);
      const names: RawDirent[] = [];
      for await (const entry of this.entries(at.inode)) names.push(entry);
      names.sort((a, b) => (a.name < b.name ? 1 : -1));
      for (const entry of names)
        pending.push({ path: `${at.path === '/' ? '' : at.path}/${entry.name}`, inode: await this.inode(entry.inode) });
    }
  }

  /** The content of a file or directory from byte `start` to byte `end` (default: all), in pieces; holes are zeros. */
  async *content(inode: RawInode, start = 0, end: number = inode.size): AsyncGenerator<Uint8Array> {
    const extents = await this.extents(inode);
    const stop = Math.min(end, inode.size);
    let next = 0;
    for (let at = start; at < stop; ) {
      while (next < extents.length && (extents[next]!.logical + extents[next]!.count) * this.blockSize <= at) next++;
      const extent = extents[next];
      const dataStart = extent === undefined ? stop : extent.logical * this.blockSize;
      const limit = Math.min(stop, at + CONTENT_CHUNK);
      if (extent === undefined || at < dataStart) {
        const length = Math.min(limit, dataStart) - at;
        yield new Uint8Array(length);
        at += length;
        continue;
      }
      const length = Math.min(limit, dataStart + extent.count * this.blockSize) - at;
      yield extent.unwritten
        ? new Uint8Array(length)
        : await readWithin(this.#device, extent.physical * this.blockSize + at - dataStart, length);
      at += length;
    }
  }

  /** The content of a file or directory without its holes: pieces, each with the byte of the file where it begins. */
  async *data(inode: RawInode): AsyncGenerator<{ readonly start: number; readonly bytes: Uint8Array }> {
    for (const { logical, physical, count, unwritten } of await this.extents(inode)) {
      const begin = logical * this.blockSize;
      const stop = unwritten ? begin : Math.min(inode.size, begin + count * this.blockSize);
      for (let at = begin; at < stop; at += CONTENT_CHUNK) {
        const length = Math.min(CONTENT_CHUNK, stop - at);
        yield { start: at, bytes: await readWithin(this.#device, physical * this.blockSize + at - begin, length) };
      }
    }
  }

  /** The whole content as one array; AccelError `limit-exceeded` past `limit` bytes. */
  async bytes(inode: RawInode, limit = 1 << 26): Promise<Uint8Array> {
    if (inode.size > limit)
      throw new AccelError('limit-exceeded', 'a file is too large to be read at once', {
        expected: limit,
        found: inode.size,
      });
    const pieces: Uint8Array[] = [];
    for await (const piece of this.content(inode)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  /** The text of a symlink, Latin-1. */
  async target(inode: RawInode): Promise<string> {
    const isFast = (inode.flags & INODE_FLAG.extents) === 0 && inode.size < I_BLOCK_SIZE;
    return Buffer.from(
      isFast ? inode.iBlock.subarray(0, inode.size) : await this.bytes(inode, this.blockSize),
    ).toString('latin1');
  }

  /** Extended attributes by full name; POSIX ACLs in the form that user space sees. */
  async xattrs(inode: RawInode): Promise<Map<string, Uint8Array>> {
    const block = inode.xattrBlock === 0 ? undefined : await this.#block(inode.xattrBlock);
    return decodeXattrs(inode.tail, block, { inode: inode.number });
  }

  /** Where the content of an inode lies, ascending. AccelError `ext4-invalid` for inodes without extents. */
  async extents(inode: RawInode): Promise<(Extent & { readonly unwritten: boolean })[]> {
    if ((inode.flags & INODE_FLAG.extents) === 0) {
      if (inode.sectors === 0) return [];
      throw new AccelError('ext4-invalid', 'the file is not stored in extents', { where: { inode: inode.number } });
    }
    const where = { inode: inode.number };
    const out: (Extent & { readonly unwritten: boolean })[] = [];
    let end = 0;
    const pending: { readonly bytes: Uint8Array; readonly depth: number | undefined }[] = [
      { bytes: inode.iBlock, depth: undefined },
    ];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      const node = decodeExtentNode(at.bytes, where);
      if (at.depth !== undefined && node.depth !== at.depth) {
        throw damagedTree(where, `depth ${node.depth} instead of ${at.depth}`);
      }
      // Strictly ascending and never empty: a tree whose nodes lead to one block again and again ends here, and early.
      if (at.depth !== undefined && node.children.length + node.extents.length === 0)
        throw damagedTree(where, 'no entry');
      for (const extent of node.extents) {
        if (extent.logical < end || extent.count === 0)
          throw damagedTree(where, `block ${extent.logical} behind ${end}`);
        end = extent.logical + extent.count;
        out.push(extent);
      }
      for (const child of [...node.children].reverse())
        pending.push({ bytes: await this.#block(child), depth: node.depth - 1 });
    }
    return out;
  }

  async #directoryBlock(directory: RawInode, logical: number): Promise<Uint8Array> {
    const at = logical * this.blockSize;
    for await (const block of this.content(directory, at, at + this.blockSize)) {
      if (block.length === this.blockSize) return block;
    }
    throw new AccelError('ext4-invalid', 'a directory is shorter than its index says', {
      where: { inode: directory.number, block: logical },
      expected: `more than ${at} bytes`,
      found: directory.size,
    });
  }

  async #bytes(offset: number, length: number): Promise<Uint8Array> {
    const block = Math.floor(offset / this.blockSize);
    const from = offset - block * this.blockSize;
    return (await this.#block(block)).subarray(from, from + length);
  }

  #block(number: number): Promise<Uint8Array> {
    const known = this.#cache.get(number);
    if (known !== undefined) return known;
    if (this.#cache.size >= CACHED_BLOCKS) this.#cache.delete(this.#cache.keys().next().value!);
    const read = readWithin(this.#device, number * this.blockSize, this.blockSize);
    this.#cache.set(number, read);
    // A device that fails once (a registry that is gone for a moment) may be asked again.
    read.catch(() => this.#cache.delete(number));
    return read;
  }
}

type Superblock = ReturnType<typeof superblock.read>;

/** The fields of a superblock. AccelError `ext4-invalid` for numbers that no device has. */
export function decodeSuperblock(raw: Uint8Array): Superblock {
  try {
    return superblock.read(raw);
  } catch (cause) {
    // A 64-bit field past 2^53.
    throw new AccelError('ext4-invalid', 'the superblock is damaged', { cause });
  }
}

function isPowerBetween(low: number, value: number, high: number): boolean {
  return value >= low && value <= high && (value & (value - 1)) === 0;
}

/** A read that stays on the device. AccelError `ext4-invalid` for one that does not: a number on the disk is wrong. */
export async function readWithin(device: BlockDevice, offset: number, length: number): Promise<Uint8Array> {
  if (offset + length <= device.size) return device.read(offset, length);
  throw new AccelError('ext4-invalid', 'the file system points behind the end of its device', {
    where: { byte: offset },
    expected: `at most ${device.size} bytes`,
    found: offset + length,
  });
}

function damagedTree(where: { readonly inode: number }, found: string): AccelError {
  return new AccelError('ext4-invalid', 'an extent tree is damaged', { where, found });
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  const view = viewOf(bytes);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
}
