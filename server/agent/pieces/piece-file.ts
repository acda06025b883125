/** The file of one piece on disk: the piece's bytes, then a trailer that says what they should be. */
import { createHash } from 'node:crypto';
import { AccelError } from '../../../base/error.ts';
import { isRecord } from '../../../base/is-record.ts';
import type { Piece } from './piece.ts';

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

/** Reads a piece's file. Throws `digest-mismatch` when its bytes are not what its trailer says, or it has none. */
export function decodePieceFile(file: Buffer): Piece {
  const damaged = (found: string) =>
    new AccelError('digest-mismatch', 'a file of the piece cache is damaged', { found });
  if (file.length < LENGTH_BYTES) throw damaged(`${file.length} bytes`);
  const length = file.readUInt32LE(file.length - LENGTH_BYTES);
  const end = file.length - LENGTH_BYTES - length;
  if (length > MAX_TRAILER || end < 0) throw damaged('no trailer');
  const { sha256, attestation } = parseTrailer(file.toString('utf8', end, end + length)) ?? {};
  const bytes = file.subarray(0, end);
  const actual = hashPiece(bytes);
  if (sha256 !== actual) throw damaged(`sha256 ${actual}`);
  return { bytes, sha256: actual, ...(typeof attestation === 'string' ? { attestation } : {}) };
}

/** SHA-256 of a piece's bytes, lower-case hexadecimal. */
export function hashPiece(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
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
