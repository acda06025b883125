/** Hashes a finished file. */

import { readFile } from '../../../disk/disk-file.ts';
import { Digester } from '../../../oci/digest.ts';

/** SHA-256 of a file, as a digest. One part is read while the one before it is hashed. */
export async function digestOfFile(path: string): Promise<string> {
  const digester = new Digester();
  for await (const part of readFile(path, { transient: true })) digester.update(part);
  return digester.digest();
}
