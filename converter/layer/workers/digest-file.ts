/** Hashes a finished file. */

import { readFile } from '../../../disk/disk-file.ts';
import { Digester } from '../../../oci/digest.ts';

/** Memory of reads that have ended, for the next ones: new memory for each file of each layer would wait for V8's collector. */
const unused: Uint8Array[][] = [];

/** Gives `take` the bytes of a file, or the first `size` of them, which are valid during the call. */
export async function forEachPart(path: string, take: (bytes: Uint8Array) => void, size?: number): Promise<void> {
  const memory = unused.pop() ?? [];
  try {
    const part = { transient: true, memory, ...(size === undefined ? {} : { size }) };
    for await (const bytes of readFile(path, part)) take(bytes);
  } finally {
    unused.push(memory);
  }
}

/** SHA-256 of a file, as a digest. One part is read while the one before it is hashed. */
export async function digestOfFile(path: string): Promise<string> {
  const digester = new Digester();
  await forEachPart(path, (bytes) => digester.update(bytes));
  return digester.digest();
}
