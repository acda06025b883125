/** Files that are there whole or not at all. */
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { asAccelError } from '../base/error.ts';

/** Tells the temporary files of one process apart. */
let counter = 0;

/** How long a temporary file of a process that is gone must have been left alone before it is removed, in milliseconds. */
const SETTLED = 60_000;

/** A new name for a temporary file in the directory of `target`. */
export function temporaryBeside(target: string): string {
  counter += 1;
  // The name begins with a dot and is no digest, so readers of a layout pass over it.
  return path.join(path.dirname(target), `.accel-${process.pid}-${counter}.tmp`);
}

/**
 * Removes what killed processes left in a directory. A file that was written to within the last minute stays: on a
 * volume that containers share, a process that cannot be seen from here may still live.
 */
export async function sweepTemporaries(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw asAccelError(error);
  });
  for (const name of names) {
    const pid = Number(/^\.accel-(\d{1,9})-\d+\.tmp$/.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(pid) || isAlive(pid)) continue;
    const file = path.join(directory, name);
    try {
      if (Date.now() - (await stat(file)).mtimeMs > SETTLED) await rm(file, { force: true });
    } catch (error) {
      // Another run may have swept it first, or it is not ours to remove: neither keeps us from our work.
      if (!isAbsent(error) && !isDenied(error)) throw asAccelError(error);
    }
  }
}

/**
 * Makes the directory of `target`, writes `stream` to a temporary file beside `target` and renames it there. If the stream, the disk or the signal ends
 * it early, the temporary file is removed and the error passed on.
 */
export async function writeAtomically(
  target: string,
  stream: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  const temporary = temporaryBeside(target);
  try {
    await mkdir(path.dirname(target), { recursive: true });
    const file = await open(temporary, 'wx');
    try {
      for await (const chunk of stream) {
        signal?.throwIfAborted();
        await file.writeFile(chunk);
      }
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    // Whatever rm says (the directory may not exist), the first failure is the one to tell.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw asAccelError(error);
  }
}

/** True for the error of a path that does not exist. */
export function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

function isDenied(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM');
}

/** Whether a process of this number runs; one that belongs to another user does. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isDenied(error);
  }
}
