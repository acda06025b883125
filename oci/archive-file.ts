/** Checks the file of an archive, and detects that it was replaced. */
import { stat } from 'node:fs/promises';
import { AccelError, asAccelError } from '../base/error.ts';
import { kindOf } from '../disk/file-kind.ts';
import { isAbsent } from '../disk/write-atomically.ts';

/** Throws `layout-invalid` if `file` is not a regular file. A missing file is reported by the open. */
export async function refuseSpecial(file: string): Promise<void> {
  const info = await stat(file).catch(() => undefined);
  if (info === undefined || info.isFile()) return;
  throw new AccelError('layout-invalid', 'an archive is read in place, which takes a regular file', {
    where: { path: file },
    found: kindOf(info),
    hint: 'Write a pipe or device to a file first; a directory is opened as oci:DIR.',
  });
}

/** A text that differs between a file and its replacement. */
export function stamp(info: { ino: number; size: number; mtimeMs: number }): string {
  return `${info.ino} ${info.size} ${info.mtimeMs}`;
}

/** The stamp of the file at a path; undefined if it does not exist. */
export async function stampOf(file: string): Promise<string | undefined> {
  try {
    return stamp(await stat(file));
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw asAccelError(error);
  }
}
