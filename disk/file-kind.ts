/** Says what a path leads to before anything is opened: opening a FIFO waits, and opening a device may do something. */
import { readlink, stat } from 'node:fs/promises';
import { AccelError } from '../base/error.ts';

/** The part of `Stats` by which kinds are told apart. */
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

/** Throws `io-error` unless `path` leads to a regular file, or to nothing: that is for the opening to report. */
export async function assertRegular(path: string, shown = path): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined || info.isFile()) return;
  throw notRegular(shown, kindOf(info));
}

/** The error for a path that leads to something else than a regular file. */
export function notRegular(path: string, found: string): AccelError {
  return new AccelError('io-error', 'this can be read from a regular file only', {
    where: { path },
    expected: 'a regular file',
    found,
    hint: 'Write the content to a file and name that one.',
  });
}

/** Where the symbolic link at `path` points, if it is one and leads nowhere. */
export async function danglingLink(path: string): Promise<string | undefined> {
  const link = await readlink(path).catch(() => undefined);
  if (link === undefined) return undefined;
  return (await stat(path).catch(() => undefined)) === undefined ? link : undefined;
}
