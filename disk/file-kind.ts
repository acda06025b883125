/** Determines the kind of a file before it is opened: opening a FIFO blocks, and opening a device may have effects. */
import { readlink, stat } from 'node:fs/promises';
import { AccelError } from '../base/error.ts';

/** The methods of `Stats` that distinguish kinds of files. */
interface Kinds {
  isFile(): boolean;
  isDirectory(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
  isCharacterDevice(): boolean;
  isBlockDevice(): boolean;
}

/** The kind of a file as messages name it. */
export function kindOf(info: Kinds): string {
  if (info.isFile()) return 'a regular file';
  if (info.isDirectory()) return 'a directory';
  if (info.isFIFO()) return 'a FIFO';
  if (info.isSocket()) return 'a socket';
  if (info.isCharacterDevice()) return 'a character device';
  return info.isBlockDevice() ? 'a block device' : 'a file of another kind';
}

/** Throws `io-error` unless `path` leads to a regular file, or does not exist, which the open reports. */
export async function assertRegular(path: string, shown = path): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined || info.isFile()) return;
  throw notRegular(shown, kindOf(info));
}

/** The error for a path that is not a regular file. */
export function notRegular(path: string, found: string): AccelError {
  return new AccelError('io-error', 'only a regular file can be read here', {
    where: { path },
    expected: 'a regular file',
    found,
    hint: 'Write the content to a file and name that one.',
  });
}

/** The target of the symbolic link at `path`, if the target does not exist. */
export async function danglingLink(path: string): Promise<string | undefined> {
  const link = await readlink(path).catch(() => undefined);
  if (link === undefined) return undefined;
  return (await stat(path).catch(() => undefined)) === undefined ? link : undefined;
}
