/** Hashing a finished file. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

const READ_SIZE = 1 << 20;

/** SHA-256 of a file, as a digest. Waits for each piece of it, so that its thread gets to other jobs in between. */
export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(READ_SIZE);
  const file = await open(path, 'r');
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, READ_SIZE);
      if (bytesRead === 0) return `sha256:${hash.digest('hex')}`;
      hash.update(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
