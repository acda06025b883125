/** An inode in memory and its 256 bytes in the inode table. */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import type { DirectoryLayout } from './directory.ts';
import { type Extent, encodeExtentTree } from './extents.ts';
import { I_BLOCK_SIZE, INODE_FLAG, type InodeType, inodeStruct, LINK_MAX, S_IF, S_IFMT } from './layout.ts';
import type { EncodedXattrs } from './xattr.ts';

/** A point in time as ext4 keeps it: whole seconds since 1970, possibly negative, and nanoseconds 0 … 999,999,999. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** What a tar entry says of an inode besides its content. */
export interface Attributes {
  /** Permission, setuid, setgid and sticky bits: 0 … 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timestamp;
}

/** A directory's name for an inode, and the layer that put it there. */
export interface Dirent {
  readonly inode: Inode;
  /** Number of the layer that made this name (0 = lowest; -1 = the empty file system). */
  readonly layer: number;
}

/** What only directories have. */
export interface Directory {
  parent: Inode;
  /** Names (Latin-1, a character for each byte) in the order in which they were added. */
  readonly children: Map<string, Dirent>;
  /** How the names lie in blocks since the last commit; undefined before the first. */
  layout: DirectoryLayout | undefined;
  /** Names added, removed or pointed elsewhere since the last commit; undefined when there are none. */
  changed: Set<string> | undefined;
  /** Number of child directories. */
  subdirectories: number;
}

/** Seconds that an ext4 timestamp can hold: 32 bits signed and two epoch bits. */
export const MIN_SECONDS = -(2 ** 31);
/** See {@link MIN_SECONDS}; the year 2446. */
export const MAX_SECONDS = 2 ** 34 - 2 ** 31 - 1;

/** An inode in memory. Plain state; the rules that keep it consistent are in image.ts. */
export class Inode {
  readonly number: number;
  readonly type: InodeType;
  /** Number of the layer that made it (-1 = the empty file system). */
  readonly layer: number;
  mode: number;
  uid: number;
  gid: number;
  mtimeSeconds: number;
  mtimeNanoseconds: number;
  /** Names that point here; of a directory its own `.` and its children's `..` come on top. */
  names = 0;
  /** Logical size in bytes: of a file its length, of a directory its blocks, of a symlink its text. */
  size = 0;
  /** Where the content lies, ascending; changed by `Ext4Image.allocate` alone. */
  readonly extents: Extent[] = [];
  /** Blocks of the extent tree below `i_block`. */
  extentBlocks: readonly number[] = [];
  /** Value of `i_block` when the extents do not fit it alone; made at commit. */
  extentRoot: Uint8Array | undefined;
  xattrs: ReadonlyMap<string, Uint8Array> | undefined;
  /** The attributes as they are stored, in the inode from byte 160 and in a block. */
  encodedXattrs: EncodedXattrs | undefined;
  /** The block with the other attributes, 0 = none. */
  xattrBlock = 0;
  /** Text of a symlink, Latin-1. */
  target: string | undefined;
  deviceMajor = 0;
  deviceMinor = 0;
  readonly directory: Directory | undefined;

  constructor(number: number, type: InodeType, layer: number, attributes: Attributes, parent: Inode | undefined) {
    this.number = number;
    this.type = type;
    this.layer = layer;
    this.mode = attributes.mode;
    this.uid = attributes.uid;
    this.gid = attributes.gid;
    this.mtimeSeconds = attributes.mtime.seconds;
    this.mtimeNanoseconds = attributes.mtime.nanoseconds;
    this.directory =
      type === 'directory'
        ? { parent: parent ?? this, children: new Map(), layout: undefined, changed: undefined, subdirectories: 0 }
        : undefined;
  }

  /** `i_links_count`: a directory with more than 65,000 subdirectories counts 1 (feature `dir_nlink`). */
  get links(): number {
    if (this.directory === undefined) return this.names;
    const links = 2 + this.directory.subdirectories;
    return links > LINK_MAX ? 1 : links;
  }

  /** True when a symlink's text lies in `i_block` (at most 59 bytes, one less than the field). */
  get isFastSymlink(): boolean {
    return this.type === 'symlink' && this.size < I_BLOCK_SIZE;
  }

  /** True when `i_block` holds an extent tree: for everything with blocks of content. */
  get hasExtents(): boolean {
    return this.type === 'file' || this.type === 'directory' || (this.type === 'symlink' && !this.isFastSymlink);
  }

  /** Blocks that count into `i_blocks`: content, extent tree, attributes. */
  get blocks(): number {
    let blocks = this.extentBlocks.length + (this.xattrBlock === 0 ? 0 : 1);
    for (const extent of this.extents) blocks += extent.count;
    return blocks;
  }
}

const at = inodeStruct.offsets;
const EXTRA_ISIZE = inodeStruct.size - 128;
const SECTORS_PER_BLOCK = 8;

/** Writes the 256 bytes of `inode` at `offset` of an inode table block that holds zeros there. */
export function encodeInode(inode: Inode, block: Uint8Array, offset: number): void {
  // Written field by field: a layer may change a million inodes, and the table-driven writer is ten times slower.
  const view = viewOf(block);
  const u16 = (field: number, value: number): void => view.setUint16(offset + field, value, true);
  const u32 = (field: number, value: number): void => view.setUint32(offset + field, value, true);
  const sectors = inode.blocks * SECTORS_PER_BLOCK;
  u16(at.i_mode, S_IF[inode.type] | inode.mode);
  u16(at.i_uid_lo, inode.uid & 0xffff);
  u16(at.i_uid_high, inode.uid >>> 16);
  u16(at.i_gid_lo, inode.gid & 0xffff);
  u16(at.i_gid_high, inode.gid >>> 16);
  u32(at.i_size_lo, inode.size >>> 0);
  u32(at.i_size_high, Math.floor(inode.size / 0x1_0000_0000));
  u16(at.i_links_count, inode.links);
  u32(at.i_blocks_lo, sectors >>> 0);
  u16(at.i_blocks_high, Math.floor(sectors / 0x1_0000_0000));
  u32(at.i_flags, flagsOf(inode));
  u32(at.i_file_acl_lo, inode.xattrBlock);
  u16(at.i_extra_isize, EXTRA_ISIZE);
  // Access, change, modification and creation time are one: the tar's. Nothing else is known, and no clock is asked.
  const seconds = inode.mtimeSeconds;
  const extra = ((Math.floor((seconds - MIN_SECONDS) / 0x1_0000_0000) & 3) | (inode.mtimeNanoseconds << 2)) >>> 0;
  for (const field of [at.i_atime, at.i_ctime, at.i_mtime, at.i_crtime]) u32(field, seconds >>> 0);
  for (const field of [at.i_atime_extra, at.i_ctime_extra, at.i_mtime_extra, at.i_crtime_extra]) u32(field, extra);
  block.set(iBlockOf(inode), offset + at.i_block);
  const inline = inode.encodedXattrs?.inline;
  if (inline !== undefined) block.set(inline, offset + inodeStruct.size);
}

function flagsOf(inode: Inode): number {
  let flags = 0;
  if (inode.hasExtents) flags |= INODE_FLAG.extents;
  if (inode.directory?.layout?.indexed === true) flags |= INODE_FLAG.index;
  return flags;
}

function iBlockOf(inode: Inode): Uint8Array {
  if (inode.hasExtents) return inode.extentRoot ?? encodeExtentTree(inode.extents, []).root;
  if (inode.isFastSymlink) return Buffer.from(inode.target ?? '', 'latin1');
  if (inode.type === 'character' || inode.type === 'block') return encodeDevice(inode.deviceMajor, inode.deviceMinor);
  return new Uint8Array(0);
}

/** Device numbers as the kernel keeps them in `i_block`: small ones in the old form, others in the second word. */
function encodeDevice(major: number, minor: number): Uint8Array {
  const out = new Uint8Array(8);
  const view = viewOf(out);
  if (major < 256 && minor < 256) view.setUint32(0, (major << 8) | minor, true);
  else view.setUint32(4, ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, true);
  return out;
}

/** Largest device numbers that the form above holds. */
export const DEVICE_LIMITS = { major: 0xfff, minor: 0xf_ffff } as const;

/** An inode as it was read from a table. */
export interface RawInode {
  readonly number: number;
  readonly type: InodeType;
  /** 0 … 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly links: number;
  readonly flags: number;
  readonly mtime: Timestamp;
  readonly ctime: Timestamp;
  readonly atime: Timestamp;
  /** `i_blocks` in 512-byte sectors (or blocks where the inode's hugeFile flag says so). */
  readonly sectors: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly iBlock: Uint8Array;
  readonly xattrBlock: number;
  /** What lies behind the extra fields: in-inode extended attributes, if any. */
  readonly tail: Uint8Array;
}

const TYPES = new Map<number, InodeType>(Object.entries(S_IF).map(([type, bits]) => [bits, type as InodeType]));

/** Reads the inode `number` from its bytes in the table (128 or more). AccelError `ext4-invalid` for an unknown type. */
export function decodeInode(number: number, bytes: Uint8Array): RawInode {
  const padded = bytes.length >= inodeStruct.size ? bytes : concatZeros(bytes, inodeStruct.size);
  const raw = inodeStruct.read(padded);
  const type = TYPES.get(raw.i_mode & S_IFMT);
  if (type === undefined) {
    throw new AccelError('ext4-invalid', `inode ${number} has no known type`, {
      where: { inode: number },
      found: raw.i_mode,
    });
  }
  const extra = bytes.length > 128 ? Math.min(raw.i_extra_isize, bytes.length - 128) : 0;
  const has = (field: number): boolean => field + 4 <= 128 + extra;
  const time = (low: number, high: number, field: number): Timestamp => timestamp(low, has(field) ? high : 0);
  const view = viewOf(raw.i_block);
  const old = view.getUint32(0, true);
  const wide = view.getUint32(4, true);
  const isDevice = type === 'character' || type === 'block';
  return {
    number,
    type,
    mode: raw.i_mode & 0o7777,
    uid: raw.i_uid_lo + raw.i_uid_high * 0x1_0000,
    gid: raw.i_gid_lo + raw.i_gid_high * 0x1_0000,
    size: raw.i_size_lo + raw.i_size_high * 0x1_0000_0000,
    links: raw.i_links_count,
    flags: raw.i_flags,
    mtime: time(raw.i_mtime, raw.i_mtime_extra, at.i_mtime_extra),
    ctime: time(raw.i_ctime, raw.i_ctime_extra, at.i_ctime_extra),
    atime: time(raw.i_atime, raw.i_atime_extra, at.i_atime_extra),
    sectors: raw.i_blocks_lo + raw.i_blocks_high * 0x1_0000_0000,
    deviceMajor: isDevice ? (old === 0 ? (wide >>> 8) & 0xfff : old >>> 8) : 0,
    deviceMinor: isDevice ? (old === 0 ? (wide & 0xff) | ((wide >>> 12) & 0xf_ff00) : old & 0xff) : 0,
    iBlock: raw.i_block,
    xattrBlock: raw.i_file_acl_lo + raw.i_file_acl_high * 0x1_0000_0000,
    tail: bytes.length > 128 ? bytes.slice(128 + extra) : new Uint8Array(0),
  };
}

function timestamp(low: number, extra: number): Timestamp {
  return { seconds: (low | 0) + (extra & 3) * 0x1_0000_0000, nanoseconds: extra >>> 2 };
}

function concatZeros(bytes: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size);
  out.set(bytes);
  return out;
}
