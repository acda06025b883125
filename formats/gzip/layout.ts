/** The structures of gzip (RFC 1952) and of `gzip.meta`, overlaybd's index into a gzip stream (docs/formats.md §5). */
import { i8, i32, i64, reserved, struct, text, u8, u16, u32 } from '../bytes/struct.ts';

/** ID1 and ID2: how every gzip member starts. */
export const GZIP_MAGIC = 0x8b1f;
/** CM: the only compression method there is. */
export const GZIP_METHOD_DEFLATE = 8;
/** FLG bits (RFC 1952 §2.3.1). */
export const GZIP_FLAG = { text: 1, headerCrc: 2, extra: 4, name: 8, comment: 16, reserved: 0xe0 } as const;

/** The fixed part of a member's header. */
export const gzipHeader = struct('gzip member header', 10, {
  magic: u16,
  method: u8,
  flags: u8,
  mtime: u32,
  extraFlags: u8,
  os: u8,
});

/** The trailer of a member, after its deflate stream. */
export const gzipTrailer = struct('gzip member trailer', 8, { crc32: u32, isize: u32 });

/** The most bytes of a stored deflate block (RFC 1951 §3.2.4), and the bytes before it where it starts at a whole byte. */
export const STORED_BLOCK = 65_535;
/** See {@link STORED_BLOCK}. */
export const STORED_HEADER = 5;

/** `magic` of {@link indexHeader}. */
export const INDEX_MAGIC = 'ddgzidx';
/** `dict_compress_algo`: windows and entries are zlib streams. */
export const INDEX_ALGO_ZLIB = 1;
/** Bytes of a decompressed window, `window`. */
export const INDEX_WINDOW = 32_768;

/** Header of `gzip.meta`, packed. The crc is of the header before it. */
export const indexHeader = struct('ddgzidx header', 333, {
  magic: text(8),
  major_version: u8,
  minor_version: u8,
  dict_compress_algo: u8,
  dict_compress_level: i8,
  flag: u8,
  span: i32,
  window: i32,
  index_size: i32,
  index_num: i64,
  gzip_file_size: i64,
  index_file_size: i64,
  uncompress_file_size: i64,
  reserve: reserved(256),
  index_start: i64,
  index_area_len: i64,
  crc: u32,
});

/** An access point as `gzip.meta` lists it, packed. */
export const indexEntry = struct('ddgzidx entry', 29, {
  de_pos: i64,
  en_pos: i64,
  win_pos: i64,
  bits: u8,
  win_len: u32,
});

/** Bytes of a raw header without its crc. */
export const INDEX_HEADER_CHECKED = indexHeader.offsets.crc;
