/** Chooses the path of a copy, as cp does. */
import { realpath, stat } from 'node:fs/promises';
import { AccelError, asAccelError } from '../base/error.ts';
import type { FileStat } from './files.ts';

/**
 * The path for a copy of `start`, requested as `wanted`, to `local`: inside of `local` if that is a directory, as with
 * cp. The image's root has no name: its content goes into `local` itself.
 */
export async function destinationFor(wanted: string, start: FileStat, local: string): Promise<string> {
  const existing = await stat(local).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw asAccelError(error);
  });
  const isDirectory = existing?.isDirectory() === true;
  const bare = local.replace(/(?<=.)\/+$/, '');
  if (start.path === '/') return isDirectory ? await realpath(local) : bare;
  if (isDirectory) return `${bare === '/' ? '' : bare}/${nameOf(wanted, start)}`;
  if (bare === local || start.type === 'directory') return bare;
  throw new AccelError('io-error', 'there is no such directory to copy into', { where: { path: local } });
}

/** The last name of the requested path; if that ends in dots, the name of the file. */
function nameOf(wanted: string, start: FileStat): string {
  const last = (path: string): string => path.slice(path.replace(/\/+$/, '').lastIndexOf('/') + 1).replace(/\/+$/, '');
  const name = last(wanted);
  const bytes = name === '' || name === '.' || name === '..' ? last(start.path) : name;
  return Buffer.from(bytes, 'latin1').toString();
}
