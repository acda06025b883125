/** Hashing a finished file. */
import { Digester } from '../../oci/digest.ts';
import { DiskFile } from '../../oci/disk-file.ts';

/** SHA-256 of a file, as a digest. One piece is read while the one before it is hashed. */
export async function digestOfFile(path: string): Promise<string> {
  const digester = new Digester();
  const file = await DiskFile.open(path);
  try {
    const size = await file.size();
    for await (const piece of file.pieces({ offset: 0, size, transient: true })) digester.update(piece);
    return digester.digest();
  } finally {
    await file.close();
  }
}
