/** Frames and blocks of a zstd stream (RFC 8878 §3.1), as far as they are needed to find where each ends. */
import { AccelError } from '../../base/error.ts';

/** First four bytes of a frame, as a little-endian number. */
export const FRAME_MAGIC = 0xfd2f_b528;
/** The same of a skippable frame, whose lowest four bits are free. */
export const SKIPPABLE_MAGIC = 0x184d_2a50;
/** Most bytes of a block, compressed or not. */
export const MAX_BLOCK_SIZE = 131_072;
/** Bytes of a block header. */
export const BLOCK_HEADER_SIZE = 3;
/** Bytes of the content checksum behind the last block. */
export const CHECKSUM_SIZE = 4;
/**
 * The largest window taken, in bytes: a decoder keeps so much of its output. It is what zstd itself takes without
 * a setting of its own.
 */
export const MAX_WINDOW_SIZE: number = 128 * 1024 * 1024;

/** The fields of a frame header. */
export interface FrameHeader {
  /** Bytes of the header with its magic. */
  readonly size: number;
  readonly windowSize: number;
  /** Bytes that the frame holds, if it says so. */
  readonly contentSize: number | undefined;
  readonly checksum: boolean;
}

/**
 * The frame header that `bytes` begin with (its magic known to be right), or undefined if they are too few. `at` is its
 * place in the stream, for messages. Throws `zstd-invalid` for reserved bits, dictionaries and windows that are too large.
 */
export function readFrameHeader(bytes: Uint8Array, at: number): FrameHeader | undefined {
  const descriptor = bytes[4];
  if (descriptor === undefined) return undefined;
  const singleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const contentBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >>> 6]!;
  const size = 5 + (singleSegment ? 0 : 1) + dictionaryBytes + contentBytes;
  if (bytes.length < size) return undefined;
  if ((descriptor & 0x08) !== 0) throw zstdInvalid('a zstd frame header uses a reserved bit', at);
  let next = singleSegment ? 5 : 6;
  if (littleEndian(bytes, next, dictionaryBytes) !== 0)
    throw zstdInvalid('a zstd frame needs a dictionary', at, 'none', littleEndian(bytes, next, dictionaryBytes));
  next += dictionaryBytes;
  const content = littleEndian(bytes, next, contentBytes) + (contentBytes === 2 ? 256 : 0);
  const windowSize = singleSegment ? content : windowOf(bytes[5]!);
  if (windowSize > MAX_WINDOW_SIZE)
    throw zstdInvalid('a zstd frame needs too large a window', at, `at most ${MAX_WINDOW_SIZE} bytes`, windowSize);
  return {
    size,
    windowSize,
    contentSize: contentBytes === 0 ? undefined : content,
    checksum: (descriptor & 0x04) !== 0,
  };
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** The fields of a block header. */
export interface BlockHeader {
  readonly last: boolean;
  /** Bytes of the block behind its header. */
  readonly size: number;
}

/** The block header that `bytes` (at least 3) begin with, `at` its place. Throws `zstd-invalid`. */
export function readBlockHeader(bytes: Uint8Array, frame: FrameHeader, at: number): BlockHeader {
  const raw = littleEndian(bytes, 0, BLOCK_HEADER_SIZE);
  const type = (raw >>> 1) & 3;
  const size = raw >>> 3;
  if (type === 3) throw zstdInvalid('a zstd block has the reserved type', at);
  const limit = Math.min(MAX_BLOCK_SIZE, frame.windowSize);
  if (size > limit) throw zstdInvalid('a zstd block is too large', at, `at most ${limit} bytes`, size);
  return { last: (raw & 1) !== 0, size: type === 1 ? 1 : size };
}

/** The `count` bytes from `at` on as a number. */
export function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = count - 1; i >= 0; i--) value = value * 256 + bytes[at + i]!;
  return value;
}

/** The error for a damaged stream at byte `at`. */
export function zstdInvalid(
  message: string,
  at: number,
  expected?: string | number,
  found?: string | number,
): AccelError {
  return new AccelError('zstd-invalid', message, {
    where: { byte: at },
    ...(expected === undefined ? {} : { expected }),
    ...(found === undefined ? {} : { found }),
  });
}
