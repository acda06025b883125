/** The 512-byte header block in its four dialects, as tables. Sources: POSIX.1-2017 pax, GNU tar manual, star(5). */
import { bytes, reserved, struct, text } from '../bytes/struct.ts';

/** Bytes of a tar block: headers are one block, data is padded to whole blocks. */
export const BLOCK_SIZE = 512;

const SPACE = 0x20;

/** The header of POSIX ustar. Its first 257 bytes are the header of Unix V7 and of all later dialects. */
export const ustarHeader = struct('ustar header', BLOCK_SIZE, {
  name: text(100),
  mode: bytes(8),
  uid: bytes(8),
  gid: bytes(8),
  size: bytes(12),
  mtime: bytes(12),
  chksum: bytes(8),
  typeflag: text(1),
  linkname: text(100),
  magic: text(6),
  version: bytes(2),
  uname: text(32),
  gname: text(32),
  devmajor: bytes(8),
  devminor: bytes(8),
  prefix: text(155),
  padding: reserved(12),
});

/** The header of GNU tar ("oldgnu"): no prefix, but times and the first part of a sparse map. */
export const gnuHeader = struct('GNU header', BLOCK_SIZE, {
  v7: bytes(257),
  magic: bytes(8),
  names: bytes(64),
  devices: bytes(16),
  atime: bytes(12),
  ctime: bytes(12),
  offset: bytes(12),
  longnames: bytes(4),
  unused: reserved(1),
  sparse: bytes(96),
  isextended: bytes(1),
  realsize: bytes(12),
  padding: reserved(17),
});

/** The header of Jörg Schilling's star: ustar with a shorter prefix and two times, recognised by its last four bytes. */
export const starHeader = struct('star header', BLOCK_SIZE, {
  ustar: bytes(345),
  prefix: text(131),
  atime: bytes(12),
  ctime: bytes(12),
  padding: reserved(8),
  trailer: text(4),
});

/** One more block of an old GNU sparse map. */
export const gnuSparseBlock = struct('GNU sparse block', BLOCK_SIZE, {
  sparse: bytes(504),
  isextended: bytes(1),
  padding: reserved(7),
});

/** One element of an old GNU sparse map: two numbers of 12 bytes. */
export const gnuSparseElement = struct('GNU sparse element', 24, { offset: bytes(12), numbytes: bytes(12) });

/** The table that a header block follows: by its magic, and for star by its trailer. */
export type TarDialect = 'v7' | 'ustar' | 'star' | 'gnu';

const MAGIC_USTAR = Buffer.from('ustar');
const TRAILER_STAR = Buffer.from('tar\0');

/** The dialect of the header block at `at`. */
export function dialectOf(block: Buffer, at: number): TarDialect {
  const magic = at + ustarHeader.offsets.magic;
  if (!holds(block, magic, MAGIC_USTAR)) return 'v7';
  const behind = magic + MAGIC_USTAR.length;
  if (block[behind] === 0) return holds(block, at + starHeader.offsets.trailer, TRAILER_STAR) ? 'star' : 'ustar';
  return block[behind] === SPACE && block[behind + 1] === SPACE && block[behind + 2] === 0 ? 'gnu' : 'v7';
}

/** Whether `block` has these bytes at `at`. A loop: a call into native code for so few would take longer. */
function holds(block: Buffer, at: number, bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (block[at + i] !== bytes[i]) return false;
  return true;
}

/** Text up to the first NUL, or the whole field, one character a byte. */
export function textField(block: Buffer, start: number, size: number): string {
  const limit = start + size;
  let end = start;
  while (end < limit && block[end] !== 0) end++;
  return end === start ? '' : block.toString('latin1', start, end);
}

/** Bytes that follow `size` bytes of data up to the next whole block. */
export function paddingOf(size: number): number {
  const rest = size % BLOCK_SIZE;
  return rest === 0 ? 0 : BLOCK_SIZE - rest;
}
