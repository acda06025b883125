/** Files that are there whole or not at all. */
import { mkdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { bytesSource } from '../base/byte-source.ts';
import { AccelError, asAccelError } from '../base/error.ts';
import { forgetTemporary, noteTemporary } from '../base/temporaries.ts';
import { DiskFile } from './disk-file.ts';
import { processMark } from './process-mark.ts';

/** Tells the temporary files of one process apart. */
let counter = 0;

/** A new name for a temporary file in the directory of `target`; sweep.ts finds it if this process is killed. */
export function temporaryBeside(target: string): string {
  counter += 1;
  // The name begins with a dot and is no digest, so readers of a layout pass over it.
  return path.join(path.dirname(target), `.accel-${processMark()}-${counter}.tmp`);
}

/**
 * Makes the directory of `target`, writes `stream` to a temporary file beside `target` and renames it there. If the stream,
 * the disk or the signal ends it early, the temporary file is removed and the error passed on.
 */
export async function writeAtomically(
  target: string,
  stream: AsyncIterable<Uint8Array>,
  { signal, mode = 0o666 }: { readonly signal?: AbortSignal | undefined; readonly mode?: number } = {},
): Promise<void> {
  const temporary = temporaryBeside(target);
  noteTemporary(temporary);
  try {
    await mkdir(path.dirname(target), { recursive: true });
    const file = await DiskFile.create(temporary, mode, { shown: target });
    try {
      let size = 0;
      for await (const chunk of stream) {
        signal?.throwIfAborted();
        await file.write(chunk, size);
        size += chunk.length;
      }
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    // Whatever rm says (the directory may not exist), the first failure is the one to tell.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw asAccelError(error);
  } finally {
    forgetTemporary(temporary);
  }
}

/**
 * Writes a file that a user named: it is replaced as {@link writeAtomically} does, behind symlinks. What stands there and is
 * no file, such as a pipe or a terminal, is written to. Rejects with the system's error or `io-error`.
 */
export async function replaceFile(name: string, bytes: Uint8Array): Promise<void> {
  const target = await realpath(name).catch(() => name);
  const standing = await stat(target).catch(() => undefined);
  if (standing !== undefined && !standing.isFile()) return writeFile(target, bytes);
  // A folder that is not there is a slip of the pen.
  await stat(path.dirname(target));
  // Whoever could not read the old file is not let read the new one.
  await writeAtomically(target, bytesSource(bytes).open(), { mode: (standing?.mode ?? 0o666) & 0o777 });
}

/** True for the error of a path that does not exist, whether it is Node's or made of it. */
export function isAbsent(error: unknown): boolean {
  if (error instanceof AccelError) return isAbsent(error.cause);
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
