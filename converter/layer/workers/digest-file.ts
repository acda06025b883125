/** Hashing a finished file. */

import { readFile } from '../../../disk/disk-file.ts';
import { Digester } from '../../../oci/digest.ts';

/** SHA-256 of a file, as a digest. One piece is read while the one before it is hashed. */
export async function digestOfFile(path: string): Promise<string> {
  const digester = new Digester();
  for await (const piece of readFile(path, { transient: true })) digester.update(piece);
  return digester.digest();
}
