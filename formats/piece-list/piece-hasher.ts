/** Hashes the pieces of a blob while its bytes stream by. */
import { createHash, type Hash } from 'node:crypto';
import { encodePieceList, PIECE_BYTES, type PieceList } from './piece-list.ts';

/** Takes the bytes of one blob in order, in chunks of any size. Holds one hash under way and 32 bytes for each piece. */
export class PieceHasher {
  readonly #hashes: string[] = [];
  #hash: Hash | undefined;
  #blobBytes = 0;

  /** Takes the next bytes; they may be reused afterwards. */
  update(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      const length = Math.min(bytes.length - from, PIECE_BYTES - (this.#blobBytes % PIECE_BYTES));
      this.#hash ??= createHash('sha256');
      this.#hash.update(bytes.subarray(from, from + length));
      from += length;
      this.#blobBytes += length;
      if (this.#blobBytes % PIECE_BYTES === 0) this.#endPiece();
    }
  }

  /** The list of the blob that was taken. Ends the hasher: no update may follow. */
  finish(): PieceList {
    this.#endPiece();
    return { blobBytes: this.#blobBytes, hashes: this.#hashes };
  }

  #endPiece(): void {
    if (this.#hash !== undefined) this.#hashes.push(this.#hash.digest('hex'));
    this.#hash = undefined;
  }
}

/** The encoded piece list of a blob in memory. */
export function pieceListOfBytes(blob: Uint8Array): Uint8Array {
  const hasher = new PieceHasher();
  hasher.update(blob);
  return encodePieceList(hasher.finish());
}
