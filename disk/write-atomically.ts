/** Writes files that appear complete or not at all. */
import { mkdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { bytesSource } from '../base/byte-source.ts';
import { AccelError, asAccelError } from '../base/error.ts';
import { forgetTemporary, noteTemporary } from '../base/temporaries.ts';
import { DiskFile } from './disk-file.ts';
import { processMark } from './process-mark.ts';
import { writeFifo } from './write-fifo.ts';

/** Distinguishes the temporary files of one process. */
let counter = 0;

/** A new name for a temporary file in the directory of `target`; sweep.ts finds it if this process is killed. */
export function temporaryBeside(target: string): string {
  counter += 1;
  // The name begins with a dot and is not a digest, so readers of a layout skip it.
  return path.join(path.dirname(target), `.accel-${processMark()}-${counter}.tmp`);
}

/**
 * Creates the directory of `target`, writes `stream` to a temporary file beside `target` and renames it into place. If the
 * stream, the disk or the signal ends it early, removes the temporary file and rejects with the error.
 */
export async function writeAtomically(
  target: string,
  stream: AsyncIterable<Uint8Array>,
  { signal, mode = 0o666 }: { readonly signal?: AbortSignal | undefined; readonly mode?: number } = {},
): Promise<void> {
  const temporary = temporaryBeside(target);
  noteTemporary(temporary);
  try {
    const file = await inItsFolder(target, () => DiskFile.create(temporary, mode, { shown: target }));
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
    signal?.throwIfAborted();
    await rename(temporary, target);
  } catch (error) {
    // The first failure is reported, even if rm fails too (the directory may not exist).
    await rm(temporary, { force: true }).catch(() => undefined);
    throw asAccelError(error);
  } finally {
    forgetTemporary(temporary);
  }
}

/**
 * Does what puts something in the folder of `target`; makes that folder, and does it again, where it is missing. Most files of a
 * run go to a folder that is there, which need not be looked at for each.
 */
export async function inItsFolder<T>(target: string, place: () => Promise<T>): Promise<T> {
  try {
    return await place();
  } catch (error) {
    if (!isAbsent(error)) throw error;
    await mkdir(path.dirname(target), { recursive: true });
    return place();
  }
}

/**
 * Writes a file that a user named. An existing file is replaced as {@link writeAtomically} does, after following symlinks;
 * a FIFO or device, such as a terminal, is written to. Rejects with the system's error or `io-error`.
 */
export async function replaceFile(name: string, bytes: Uint8Array): Promise<void> {
  const target = await realpath(name).catch(() => name);
  const existing = await stat(target).catch(() => undefined);
  if (existing?.isFIFO() === true) return writeFifo(target, bytes);
  if (existing !== undefined && !existing.isFile()) return writeFile(target, bytes);
  // A missing directory is most likely a typo: it is an error and is not created.
  await stat(path.dirname(target));
  // The new file is readable by the same users as the old one.
  await writeAtomically(target, bytesSource(bytes).open(), { mode: (existing?.mode ?? 0o666) & 0o777 });
}

/** True for the error of a path that does not exist: Node's own, or an AccelError with that cause. */
export function isAbsent(error: unknown): boolean {
  if (error instanceof AccelError) return isAbsent(error.cause);
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
