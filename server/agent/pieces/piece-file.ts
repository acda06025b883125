/** The file of one piece on disk: the piece's bytes, then a trailer that says what they should be. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { AccelError } from '../../../base/error.ts';
import { isRecord } from '../../../base/is-record.ts';
import { PIECE_BYTES } from '../../../formats/piece-list/piece-list.ts';
import type { Piece } from './piece.ts';
import { PIECE_MEMORY } from './piece-memory.ts';

/** Largest trailer, in bytes; an attestation with its certificate takes about 1,500. */
const MAX_TRAILER = 64 * 1024;
const LENGTH_BYTES = 4;

/** The parts of a piece's file, in order. */
export function encodePieceFile({ bytes, sha256, attestation }: Piece): Buffer[] {
  const trailer = Buffer.from(JSON.stringify({ sha256, ...(attestation === undefined ? {} : { attestation }) }));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(trailer.length);
  return [bytes, trailer, length];
}

/**
 * Reads a piece's file; its bytes are of {@link PIECE_MEMORY}, to be let go of. Rejects with the system's error, and with
 * `digest-mismatch` when its bytes are not what its trailer says, or it has none.
 */
export async function readPieceFile(path: string): Promise<Piece> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > PIECE_BYTES + MAX_TRAILER + LENGTH_BYTES) throw damaged(`${size} bytes`);
    // Most pieces are whole: their bytes go where they stay, and what follows beside them.
    const bytes = PIECE_MEMORY.take(Math.min(size, PIECE_BYTES));
    const rest = Buffer.alloc(size - bytes.length);
    const { bytesRead } = await file.readv([bytes, rest], 0);
    if (bytesRead !== size) throw damaged(`${bytesRead} of ${size} bytes`);
    if (rest.length === 0) return decodePieceFile(bytes);
    const isWhole = rest.length >= LENGTH_BYTES && lengthOfTrailer(rest) + LENGTH_BYTES === rest.length;
    return isWhole ? checked(bytes, rest) : decodePieceFile(Buffer.concat([bytes, rest]));
  } finally {
    await file.close();
  }
}

/** Splits a piece's file. Throws `digest-mismatch` when its bytes are not what its trailer says, or it has none. */
export function decodePieceFile(file: Buffer): Piece {
  if (file.length < LENGTH_BYTES) throw damaged(`${file.length} bytes`);
  const length = lengthOfTrailer(file);
  const end = file.length - LENGTH_BYTES - length;
  if (length > MAX_TRAILER || end < 0) throw damaged('no trailer');
  return checked(file.subarray(0, end), file.subarray(end));
}

/** The piece, checked against what follows it in its file: the trailer and its length. */
function checked(bytes: Buffer, rest: Buffer): Piece {
  const { sha256, attestation } = parseTrailer(rest.toString('utf8', 0, rest.length - LENGTH_BYTES)) ?? {};
  const actual = hashPiece(bytes);
  if (sha256 !== actual) throw damaged(`sha256 ${actual}`);
  return { bytes, sha256: actual, ...(typeof attestation === 'string' ? { attestation } : {}) };
}

/** SHA-256 of a piece's bytes, lower-case hexadecimal. */
export function hashPiece(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function lengthOfTrailer(file: Buffer): number {
  return file.readUInt32LE(file.length - LENGTH_BYTES);
}

function damaged(found: string): AccelError {
  return new AccelError('digest-mismatch', 'a file of the piece cache is damaged', { found });
}

function parseTrailer(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    // The caller reports an invalid trailer.
    return undefined;
  }
}
