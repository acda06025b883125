/**
 * The structures of an LSMT file (docs/formats.md §3, formats/lsmt/README.md): header and trailer in 4096 bytes each,
 * index entries of 128 bits. Pure: nothing here reads or writes a file.
 */
import { AccelError } from '../../base/error.ts';
import { bytes, reserved, struct, text, u8, u32, u64 } from '../bytes/struct.ts';

/** Bytes of the unit in which every address of an index entry counts. */
export const SECTOR_SIZE = 512;
/** Bytes that the header takes, and the trailer: the structure, then zeros. */
export const LSMT_SPACE = 4096;
/** Sector of the file where its data section begins. */
export const DATA_START_SECTOR = LSMT_SPACE / SECTOR_SIZE;
/** Bytes of an index entry. */
export const ENTRY_SIZE = 16;
/** Sectors that the 14 bits of a length can count. */
export const MAX_SEGMENT_SECTORS = 16_383;
/** Entries, padding included, past which a node refuses to open a layer. */
export const MAX_INDEX_ENTRIES = 1_000_000;
/** The index of a full layer is padded to a multiple of so many entries (one 4 KiB block of them). */
export const INDEX_PAD_ENTRIES = 256;
/** Layers of a stack: the runtime keeps the layer of a merged segment in 8 bits and reserves one value. */
export const MAX_LAYERS = 255;
/** The uuid of a layer without a name of its own, and of the parent of a bottom layer. */
export const NULL_UUID = '00000000-0000-0000-0000-000000000000';
/** Tag of a segment whose bytes lie in this file. */
export const TAG_LOCAL = 0;
/** Tag of a segment of an index-only layer whose bytes lie in the uncompressed source tar. */
export const TAG_REMOTE = 1;

/** First 8 bytes of header and trailer. */
export const LSMT_MAGIC0: Uint8Array = Uint8Array.of(0x4c, 0x53, 0x4d, 0x54, 0, 1, 2, 0);
/** The 16 bytes behind {@link LSMT_MAGIC0}. */
export const LSMT_MAGIC1: Uint8Array = Uint8Array.of(
  ...[0x65, 0x7e, 0x63, 0xd2, 0x94, 0x44, 0x08, 0x4c],
  ...[0xa2, 0xd2, 0xc8, 0xec, 0x4f, 0xcf, 0xae, 0x8a],
);

/** Flag bit: this is the header (clear: the trailer). */
export const FLAG_HEADER = 1;
/** Flag bit: a data file (clear: an index file of a writable layer). */
export const FLAG_DATA_FILE = 2;
/** Flag bit: nothing will be appended. */
export const FLAG_SEALED = 4;

/** Header and trailer: one structure, distinguished by {@link FLAG_HEADER}. */
export const headerStruct = struct('LSMT header', 390, {
  magic0: bytes(8),
  magic1: bytes(16),
  size: u32,
  flags: u32,
  indexOffset: u64,
  indexSize: u64,
  virtualSize: u64,
  uuid: text(37),
  parentUuid: text(37),
  reserved: reserved(2),
  version: u8,
  subVersion: u8,
  userTag: bytes(256),
});

/** The fields of a header or trailer that differ between files. Offsets and sizes in bytes, `indexSize` in entries. */
export interface LsmtHeader {
  readonly flags: number;
  readonly indexOffset: number;
  readonly indexSize: number;
  readonly virtualSize: number;
  readonly uuid: string;
  readonly parentUuid: string;
}

/** A header or trailer as the {@link LSMT_SPACE} bytes that stand in the file. */
export function encodeHeader(header: LsmtHeader): Uint8Array {
  const out = new Uint8Array(LSMT_SPACE);
  headerStruct.write(out, 0, {
    ...header,
    magic0: LSMT_MAGIC0,
    magic1: LSMT_MAGIC1,
    size: headerStruct.size,
    version: 1,
    subVersion: 1,
  });
  return out;
}

/**
 * Reads and checks a header (`part: 'header'`) or trailer: magics, structure size, version, the three flags that a
 * sealed data file carries, zeros behind the structure. Throws `lsmt-invalid`.
 */
export function decodeHeader(space: Uint8Array, part: 'header' | 'trailer'): LsmtHeader {
  if (space.length !== LSMT_SPACE) throw invalid(part, 'is cut short', LSMT_SPACE, space.length);
  if (!startsWith(space, LSMT_MAGIC0, 0) || !startsWith(space, LSMT_MAGIC1, LSMT_MAGIC0.length))
    throw invalid(part, 'has the wrong magic', hex(LSMT_MAGIC0), hex(space.subarray(0, LSMT_MAGIC0.length)));
  const raw = readChecked(space, part);
  if (raw.size !== headerStruct.size) throw invalid(part, 'has the wrong structure size', headerStruct.size, raw.size);
  if (raw.version !== 1) throw invalid(part, 'has an unknown version', 1, raw.version);
  const wanted = FLAG_DATA_FILE | FLAG_SEALED | (part === 'header' ? FLAG_HEADER : 0);
  if (raw.flags !== wanted) throw invalid(part, 'does not belong to a sealed data file (flags)', wanted, raw.flags);
  for (let i = headerStruct.size; i < space.length; i++)
    if (space[i] !== 0) throw invalid(part, `has a stray byte at ${i}`, 0, space[i]!);
  const { flags, indexOffset, indexSize, virtualSize, uuid, parentUuid } = raw;
  return { flags, indexOffset, indexSize, virtualSize, uuid, parentUuid };
}

/** One index entry, everything in sectors. */
export interface IndexEntry {
  /** Sector of the device. */
  start: number;
  /** Sectors, 1..{@link MAX_SEGMENT_SECTORS}. */
  length: number;
  /** Sector of the file, or of the source tar for a remote segment. */
  moffset: number;
  /** The segment reads as zeros; `moffset` means nothing. */
  zeroed: boolean;
  tag: number;
}

const INVALID_START = 2 ** 50 - 1;
const HIGH = 2 ** 32;

/** Writes `entry` at byte `offset`: offset:50 length:14, moffset:55 zeroed:1 tag:8, least significant bits first. */
export function writeEntry(view: DataView, offset: number, entry: Readonly<IndexEntry>): void {
  view.setUint32(offset, entry.start >>> 0, true);
  view.setUint32(offset + 4, (Math.floor(entry.start / HIGH) | (entry.length << 18)) >>> 0, true);
  view.setUint32(offset + 8, entry.moffset >>> 0, true);
  const flags = (entry.zeroed ? 1 << 23 : 0) | (entry.tag << 24);
  view.setUint32(offset + 12, (Math.floor(entry.moffset / HIGH) | flags) >>> 0, true);
}

/** Writes the entry that fills a padded index: an address no device has, length 0. Readers skip it. */
export function writePadding(view: DataView, offset: number): void {
  writeEntry(view, offset, { start: INVALID_START, length: 0, moffset: 0, zeroed: false, tag: 0 });
}

/** Reads the entry at byte `offset` into `entry`; false for one that only pads the index. */
export function readEntry(view: DataView, offset: number, entry: IndexEntry): boolean {
  const startHigh = view.getUint32(offset + 4, true);
  const moffsetHigh = view.getUint32(offset + 12, true);
  entry.start = (startHigh & 0x3_ffff) * HIGH + view.getUint32(offset, true);
  entry.length = startHigh >>> 18;
  entry.moffset = (moffsetHigh & 0x7f_ffff) * HIGH + view.getUint32(offset + 8, true);
  entry.zeroed = (moffsetHigh & (1 << 23)) !== 0;
  entry.tag = moffsetHigh >>> 24;
  return entry.start !== INVALID_START;
}

function readChecked(space: Uint8Array, part: string): ReturnType<typeof headerStruct.read> {
  try {
    return headerStruct.read(space);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new AccelError('lsmt-invalid', `LSMT ${part}: ${cause.message}`, { where: { part }, cause });
  }
}

function invalid(part: string, what: string, expected: string | number, found: string | number): AccelError {
  return new AccelError('lsmt-invalid', `the LSMT ${part} ${what}`, { where: { part }, expected, found });
}

function startsWith(space: Uint8Array, magic: Uint8Array, at: number): boolean {
  return magic.every((byte, i) => space[at + i] === byte);
}

function hex(value: Uint8Array): string {
  return Buffer.from(value).toString('hex');
}
