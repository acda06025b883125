/** Removes files that may be gone already. */
import { unlink } from 'node:fs/promises';

/** Removes a file; none there is no error. In one call of the system, where `rm` of Node looks at the path twice before. */
export async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}
