/** Hashes the pieces of a file while it is written, so that none but the first is read again. */
import { createHash } from 'node:crypto';
import { PieceHasher } from '../../../formats/piece-list/piece-hasher.ts';
import { encodePieceList, PIECE_BYTES } from '../../../formats/piece-list/piece-list.ts';
import { forEachPart } from './digest-file.ts';

/** The pieces of a file that is written in order. */
export interface FilePieces {
  /** Takes the next bytes of the file; they may be reused when it resolves. */
  update(bytes: Uint8Array): Promise<void>;
  /**
   * The piece list of the finished file, encoded. The start of a file is patched at its end, with the sizes that are known
   * only then, so the first piece is read from `path`.
   */
  finish(path: string): Promise<Uint8Array>;
}

/** Hashes in the calling thread. */
export class LocalPieces implements FilePieces {
  readonly #hasher = new PieceHasher();

  async update(bytes: Uint8Array): Promise<void> {
    this.#hasher.update(bytes);
  }

  async finish(path: string): Promise<Uint8Array> {
    const { blobBytes, hashes } = this.#hasher.finish();
    const hash = createHash('sha256');
    await forEachPart(path, (bytes) => hash.update(bytes), Math.min(PIECE_BYTES, blobBytes));
    return encodePieceList({ blobBytes, hashes: [hash.digest('hex'), ...hashes.slice(1)] });
  }
}
