/** Removes the leftovers of killed processes and keeps files that are in use. */
import { lstat, mkdtemp, readdir, rmdir, unlink } from 'node:fs/promises';
import path from 'node:path';
import { asAccelError } from '../base/error.ts';
import { LOCK_PATTERN } from './lock.ts';
import { MARK_PATTERN, stateOfMark } from './process-mark.ts';

/**
 * Milliseconds without any change after which leftovers of a process that is not visible from here are removed: a week.
 */
const STILL = 7 * 24 * 3_600_000;

/** Name of a temporary file beside what it is to become, and of the folder of a run. */
const LEFT = new RegExp(`^\\.accel-(?:(spool)-)?(${MARK_PATTERN})-(?:\\d+\\.tmp|[A-Za-z0-9]{6})$`);
/** Name of the file of a lock. */
const LOCK = new RegExp(`^${LOCK_PATTERN}$`);
/** Names of the files of a folder of a run. */
const SPOOLED = /^\d+$/;

/**
 * Removes from `directory` the temporary files and folders of processes of this user that are gone. Files of running
 * processes stay; those of another machine or container, or from an earlier boot, are removed if nothing changed in
 * them for a week. Only files of accel's own kinds are touched, and no link is followed. An unreadable directory is
 * skipped.
 */
export async function sweepLeftovers(directory: string): Promise<void> {
  for (const name of await namesIn(directory)) {
    const [, spool, mark] = LEFT.exec(name) ?? ['', undefined, LOCK.exec(name)?.[1]];
    if (mark === undefined) continue;
    const state = stateOfMark(mark);
    if (state === 'alive') continue;
    const left = path.join(directory, name);
    try {
      const info = await lstat(left);
      // Links with such a name, and files of other users, are left alone.
      if (info.uid !== (process.getuid?.() ?? info.uid) || info.isDirectory() !== (spool !== undefined)) continue;
      if (state === 'elsewhere' && !(await isStill(directory, left))) continue;
      if (spool === undefined) await unlink(left);
      else await removeFolder(left);
    } catch (error) {
      // Another run may have removed it first, or we may not remove it: neither is an error.
      if (!isHarmless(error)) throw asAccelError(error);
    }
  }
}

/** Removes file by file: a folder with other files is kept, because accel did not create them. */
async function removeFolder(folder: string): Promise<void> {
  for (const name of await readdir(folder)) if (SPOOLED.test(name)) await unlink(path.join(folder, name));
  await rmdir(folder);
}

/** Whether nothing changed for {@link STILL}, by the clock of the file system. */
async function isStill(directory: string, left: string): Promise<boolean> {
  const probe = await mkdtemp(path.join(directory, '.accel-now-'));
  const now = (await lstat(probe)).mtimeMs;
  await rmdir(probe);
  const info = await lstat(left);
  const inside = info.isDirectory() ? (await readdir(left)).map((name) => path.join(left, name)) : [];
  const changes = await Promise.all(inside.map(async (file) => (await lstat(file)).mtimeMs));
  return Math.max(info.mtimeMs, ...changes) < now - STILL;
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isHarmless(error)) return [];
    throw asAccelError(error);
  }
}

const HARMLESS = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS', 'ENOTEMPTY', 'EEXIST', 'EISDIR', 'EBUSY']);

function isHarmless(error: unknown): boolean {
  return HARMLESS.has((error as NodeJS.ErrnoException).code ?? '');
}
