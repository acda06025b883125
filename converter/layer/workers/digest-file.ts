/** Hashes a finished file. */

import { readFile } from '../../../disk/disk-file.ts';
import { PieceHasher } from '../../../formats/piece-list/piece-hasher.ts';
import { encodePieceList } from '../../../formats/piece-list/piece-list.ts';
import { Digester } from '../../../oci/digest.ts';

/** The hashes of a file. */
export interface FileDigest {
  /** SHA-256 of the whole, as a digest. */
  readonly digest: string;
  /** Its piece list, encoded, where that was asked for. */
  readonly pieceList?: Uint8Array;
}

/**
 * Hashes a file, and with `pieces` each of its pieces as well, in one read. One part is read while the one before it is
 * hashed.
 */
export async function digestOfFile(path: string, { pieces }: { readonly pieces: boolean }): Promise<FileDigest> {
  const digester = new Digester();
  const hasher = pieces ? new PieceHasher() : undefined;
  for await (const part of readFile(path, { transient: true })) {
    digester.update(part);
    hasher?.update(part);
  }
  const digest = digester.digest();
  return hasher === undefined ? { digest } : { digest, pieceList: encodePieceList(hasher.finish()) };
}

/** The piece list of a file, encoded: {@link digestOfFile} without the hash of the whole. */
export async function pieceListOfFile(path: string): Promise<Uint8Array> {
  const hasher = new PieceHasher();
  for await (const part of readFile(path, { transient: true })) hasher.update(part);
  return encodePieceList(hasher.finish());
}
