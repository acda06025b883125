/** Makes a folder and the folders above it. */
import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';

/**
 * Makes a folder with everything above it that is missing; `mode` is that of the folders it makes. Fails with the error of the
 * system. Node's own recursive mkdir does not end where the file system lets nothing be made, as below `/proc`.
 */
export async function makeFolder(folder: string, mode = 0o777): Promise<void> {
  const missing: string[] = [];
  for (let at = path.resolve(folder); !(await isFolder(at)); at = path.dirname(at)) missing.unshift(at);
  for (const one of missing) {
    await mkdir(one, { mode }).catch(async (error: NodeJS.ErrnoException) => {
      // Somebody else may have made it meanwhile.
      if (error.code !== 'EEXIST' || !(await isFolder(one))) throw error;
    });
  }
}

/** False for what is absent. A file in the way is left to mkdir, whose error names it. */
async function isFolder(folder: string): Promise<boolean> {
  try {
    return (await stat(folder)).isDirectory();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw error;
  }
}
