/**
 * The list of piece hashes of a layer (docs/formats.md, "Piece list"): a header, then the SHA-256 of each 2 MiB piece of
 * the layer's blob in order. Its digest is in an annotation of the layer's descriptor, so whoever trusts the manifest can
 * check each piece of the blob alone, from wherever it came.
 */
import { AccelError } from '../../base/error.ts';
import { struct, text, u32, u64 } from '../bytes/struct.ts';

/** Bytes of a piece; the last piece of a blob is shorter. */
export const PIECE_BYTES = 2 * 1024 * 1024;

/** Media type of a piece list as a blob. */
export const PIECE_LIST_MEDIA_TYPE = 'application/vnd.accel.piece-list.v1';

/** Annotation of a layer's descriptor: the digest of the layer's piece list. */
export const PIECE_LIST_ANNOTATION = 'accel-image/piece-list';

/** Largest piece list that is read, in bytes: that of a blob of 256 GiB. */
export const MAX_PIECE_LIST_BYTES = 32 + 32 * ((256 * 2 ** 30) / PIECE_BYTES);

const MAGIC = 'accelpl1';
const HASH_BYTES = 32;
const HASH = /^[0-9a-f]{64}$/;

const HEADER = struct('piece list header', 32, {
  magic: text(8),
  pieceBytes: u32,
  pieceCount: u32,
  blobBytes: u64,
  reserved: u64,
});

/** A parsed piece list. */
export interface PieceList {
  /** Bytes of the blob that it describes. */
  readonly blobBytes: number;
  /** SHA-256 of each piece in order, as lower-case hexadecimal. */
  readonly hashes: readonly string[];
}

/** The number of pieces of a blob of `size` bytes; an empty blob has none. */
export function pieceCount(size: number): number {
  return Math.ceil(size / PIECE_BYTES);
}

/** Bytes of piece `index` of a blob of `size` bytes; zero or negative outside of it. */
export function pieceBytes(size: number, index: number): number {
  return Math.min(PIECE_BYTES, size - index * PIECE_BYTES);
}

/** Bytes of the piece list of a blob of `size` bytes: whoever knows the blob's size asks nobody for the list's. */
export function pieceListBytes(size: number): number {
  return HEADER.size + HASH_BYTES * pieceCount(size);
}

/** Encodes a piece list. `hashes` holds one hexadecimal SHA-256 for each piece of a blob of `blobBytes` bytes. */
export function encodePieceList({ blobBytes, hashes }: PieceList): Uint8Array {
  if (hashes.length !== pieceCount(blobBytes)) {
    throw new AccelError('internal', 'a piece list needs one hash for each piece', {
      expected: pieceCount(blobBytes),
      found: hashes.length,
    });
  }
  const wrong = hashes.find((hash) => !HASH.test(hash));
  if (wrong !== undefined) {
    throw new AccelError('internal', 'a piece list holds SHA-256 hashes', {
      expected: '64 lower-case hexadecimal digits',
      found: wrong,
    });
  }
  const bytes = new Uint8Array(pieceListBytes(blobBytes));
  HEADER.write(bytes, 0, { magic: MAGIC, pieceBytes: PIECE_BYTES, pieceCount: hashes.length, blobBytes });
  hashes.forEach((hash, index) => {
    bytes.set(Buffer.from(hash, 'hex'), HEADER.size + HASH_BYTES * index);
  });
  return bytes;
}

/** Parses a piece list. Throws `manifest-invalid` for one that does not hold together. */
export function parsePieceList(bytes: Uint8Array): PieceList {
  if (bytes.length < HEADER.size) throw invalid('is shorter than its header', HEADER.size, bytes.length);
  const header = readHeader(bytes);
  if (header.magic !== MAGIC) throw invalid('does not begin with its magic', MAGIC, JSON.stringify(header.magic));
  if (header.pieceBytes !== PIECE_BYTES) throw invalid('has another piece size', PIECE_BYTES, header.pieceBytes);
  const { blobBytes, pieceCount: count } = header;
  if (count !== pieceCount(blobBytes)) throw invalid('has another number of pieces', pieceCount(blobBytes), count);
  const size = pieceListBytes(blobBytes);
  if (bytes.length !== size) throw invalid('has another length', size, bytes.length);
  const hashes = Array.from({ length: count }, (_, index) => {
    const start = HEADER.size + HASH_BYTES * index;
    return Buffer.from(bytes.subarray(start, start + HASH_BYTES)).toString('hex');
  });
  return { blobBytes, hashes };
}

function readHeader(bytes: Uint8Array): ReturnType<typeof HEADER.read> {
  try {
    return HEADER.read(bytes);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw invalid('has a number in its header that no blob has', 'at most 2^53 - 1', cause.message);
  }
}

function invalid(problem: string, expected: string | number, found: string | number): AccelError {
  return new AccelError('manifest-invalid', `the piece list ${problem}`, { expected, found });
}
