/** The block device of an image as a sparse file, for tools that want a file and no network. */
import { lstat, realpath, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { AccelError, withPlace } from '../base/error.ts';
import { DiskFile } from '../disk/disk-file.ts';
import type { BlockDevice } from '../formats/ext4/reader.ts';
import type { MappedDevice } from './block-device.ts';
import { extentsOf } from './device-extents.ts';

/** Progress of {@link exportRaw}. */
export interface RawProgress {
  /** Bytes of data read so far; holes are not read. */
  readonly done: number;
  /** Bytes of data of the device; all of it for a device that does not know its holes. */
  readonly total: number;
}

/** Options of {@link exportRaw}. */
export interface ExportRawOptions {
  readonly onProgress?: (progress: RawProgress) => void;
  readonly signal?: AbortSignal;
}

/** Result of {@link exportRaw}. */
export interface RawResult {
  /** Bytes of the file, holes included. */
  readonly size: number;
  /** Bytes that were written; the rest are holes. */
  readonly written: number;
}

/** Bytes that are read at a time. */
const PIECE = 4 << 20;
/** Pieces under way at a time: while one is written the next are fetched. */
const PARALLEL = 4;
/** Zeros of this many bytes, aligned, are left out of the file: the block of common file systems. */
const BLOCK = 4096;
const ZEROS = Buffer.alloc(BLOCK);

/**
 * Writes the device to `file`. The file appears, or is replaced, once all of it is there; whatever ends the work
 * earlier leaves nothing behind. Rejects with `usage` when `file` is something else than a file, with `io-error` for
 * the disk, with what the device throws, and with the signal's reason.
 */
export async function exportRaw(
  device: BlockDevice | MappedDevice,
  file: string,
  options: ExportRawOptions = {},
): Promise<RawResult> {
  const target = await replaceable(file);
  const temporary = path.join(path.dirname(target), `.${path.basename(target)}.accel-${process.pid}.tmp`);
  try {
    const output = await DiskFile.create(temporary, 0o666, { shown: target });
    try {
      await output.truncate(device.size);
      const written = await copyExtents(device, output, options);
      await output.handle.sync();
      await output.close();
      await rename(temporary, target);
      return { size: device.size, written };
    } catch (error) {
      // Closing twice is allowed; what matters has been thrown already.
      await output.close().catch(() => undefined);
      await rm(temporary, { force: true });
      throw error;
    }
  } catch (error) {
    throw withPlace(error, { file });
  }
}

/** Resolves symlinks, so that they are kept. A device or pipe is refused, because a rename would replace it. */
async function replaceable(file: string): Promise<string> {
  const target = await realpath(file).catch(() => file);
  const found = await lstat(target).catch(() => undefined);
  if (found === undefined || found.isFile()) return target;
  throw new AccelError('usage', 'the image can only be written to a file', {
    where: { file },
    expected: 'the path of a file, or of nothing yet',
    found: found.isDirectory() ? 'a directory' : 'something else',
    hint: 'Write a file and copy it from there, or use accel export nbd with nbdcopy.',
  });
}

async function copyExtents(
  device: BlockDevice | MappedDevice,
  output: DiskFile,
  { onProgress, signal }: ExportRawOptions,
): Promise<number> {
  let total = 0;
  for (const { hole, length } of extentsOf(device, 0, device.size)) if (!hole) total += length;
  const pieces = dataPieces(device);
  let done = 0;
  let written = 0;
  let failed = false;
  const work = async (): Promise<void> => {
    for (let next = pieces.next(); !next.done && !failed; next = pieces.next()) {
      signal?.throwIfAborted();
      const { offset, length } = next.value;
      const bytes = await device.read(offset, length);
      const count = await writeSparse(output, bytes, offset);
      written += count;
      done += length;
      onProgress?.({ done, total });
    }
  };
  const guarded = () =>
    work().catch((error: unknown) => {
      failed = true;
      throw error;
    });
  // All have ended before the file is closed, whichever failed first.
  const outcomes = await Promise.allSettled(Array.from({ length: PARALLEL }, guarded));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  return written;
}

function* dataPieces(device: BlockDevice | MappedDevice): Generator<{ offset: number; length: number }> {
  for (const extent of extentsOf(device, 0, device.size)) {
    const end = extent.offset + extent.length;
    if (extent.hole) continue;
    for (let offset = extent.offset; offset < end; offset += PIECE)
      yield { offset, length: Math.min(PIECE, end - offset) };
  }
}

/** Writes what is not zeros; answers how many bytes those were. */
async function writeSparse(output: DiskFile, bytes: Uint8Array, offset: number): Promise<number> {
  let written = 0;
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const zero = isZero(bytes, at, offset);
    while (at < bytes.length && isZero(bytes, at, offset) === zero) at = blockEnd(bytes, at, offset);
    if (zero) continue;
    await output.write(bytes.subarray(start, at), offset + start);
    written += at - start;
  }
  return written;
}

/** End of the file's block that `at` lies in, or of the bytes. */
function blockEnd(bytes: Uint8Array, at: number, offset: number): number {
  return Math.min(bytes.length, at + BLOCK - ((offset + at) % BLOCK));
}

function isZero(bytes: Uint8Array, at: number, offset: number): boolean {
  const end = blockEnd(bytes, at, offset);
  return ZEROS.compare(bytes, at, end, 0, end - at) === 0;
}
