/** A piece of a blob: the unit that is fetched, checked, stored and passed on (contract of this folder). */
import { PIECE_BYTES } from '../../../formats/piece-list/piece-list.ts';

/** Names a piece. */
export interface PieceId {
  /** The blob's digest, `sha256:…`. */
  readonly digest: string;
  /** 0 for the first {@link PIECE_BYTES} bytes of the blob. */
  readonly index: number;
}

/** A piece whose hash was checked. */
export interface Piece {
  readonly bytes: Buffer;
  /** SHA-256 of {@link bytes}, lower-case hexadecimal. */
  readonly sha256: string;
  /** The signed statement of an owner or holder that this is the piece's hash (attestation.ts); travels with the piece. */
  readonly attestation?: string | undefined;
}

/** A half-open range of bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** The text by which maps find a piece. */
export function pieceKey({ digest, index }: PieceId): string {
  return `${digest}/${index}`;
}

/** The pieces that hold a range of bytes: the first, and the one after the last. */
export function piecesOf({ start, end }: ByteRange): { readonly first: number; readonly end: number } {
  return { first: Math.floor(start / PIECE_BYTES), end: Math.ceil(end / PIECE_BYTES) };
}

/** The piece of a key that {@link pieceKey} made. */
export function pieceIdOf(key: string): PieceId {
  const slash = key.lastIndexOf('/');
  return { digest: key.slice(0, slash), index: Number(key.slice(slash + 1)) };
}
