/** An inode as it is read from an inode table, and the limits of its fields. */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { type InodeType, inodeStruct, S_IF, S_IFMT } from './layout.ts';

/** A point in time as ext4 keeps it: whole seconds since 1970, possibly negative, and nanoseconds 0 … 999,999,999. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** The attributes that a tar entry gives an inode, besides its content. */
export interface Attributes {
  /** Permission, setuid, setgid and sticky bits: 0 … 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timestamp;
}

/** Seconds that an ext4 timestamp can hold: 32 bits signed and two epoch bits. */
export const MIN_SECONDS = -(2 ** 31);
/** See {@link MIN_SECONDS}; the year 2446. */
export const MAX_SECONDS = 2 ** 34 - 2 ** 31 - 1;

/** A time as the two fields of an inode: the low 32 bits of the seconds, then two bits of epoch and the nanoseconds. */
export function encodedTime({ seconds, nanoseconds }: Timestamp): { readonly seconds: number; readonly extra: number } {
  const epoch = Math.floor((seconds - MIN_SECONDS) / 0x1_0000_0000) & 3;
  return { seconds: seconds >>> 0, extra: (epoch | (nanoseconds << 2)) >>> 0 };
}

const at = inodeStruct.offsets;

/** Largest device numbers that an inode holds. */
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
  /** The bytes after the extra fields: in-inode extended attributes, if any. */
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
