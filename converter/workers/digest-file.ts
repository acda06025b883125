/** Hashing a finished file. */
import { open } from 'node:fs/promises';
import { Digester } from '../../oci/digest.ts';
import { filePieces } from '../../oci/file-pieces.ts';

/** SHA-256 of a file, as a digest. One piece is read while the one before it is hashed. */
export async function digestOfFile(path: string): Promise<string> {
  const digester = new Digester();
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    for await (const piece of filePieces(file, { offset: 0, size, transient: true })) digester.update(piece);
    return digester.digest();
  } finally {
    await file.close();
  }
}
