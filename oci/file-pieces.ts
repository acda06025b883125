/**
 * Files by position: reading one, or a part of it, piece by piece, the next piece on its way while one is used; and writing
 * all of some bytes, however many the system takes at a time.
 */
import type { FileHandle } from 'node:fs/promises';
import { AccelError, asAccelError } from '../base/error.ts';

/** Bytes of a piece. */
const PIECE = 1 << 20;
/** One is used, one is held back until the whole is verified, one is on its way, and one is between two of these. */
const BUFFERS = 4;

/** What to read and how. */
export interface FilePart {
  readonly offset: number;
  readonly size: number;
  readonly signal?: AbortSignal | undefined;
  /** Use memory again: a piece is valid until the second one after it is asked for. */
  readonly transient?: boolean | undefined;
}

/** Exactly the bytes of a part. Throws `size-mismatch` where the file ends before. */
export async function* filePieces(file: FileHandle, part: FilePart): AsyncGenerator<Uint8Array, void, undefined> {
  const { offset, size, signal, transient = false } = part;
  const buffers: Uint8Array[] = [];
  const read = (at: number): Promise<Uint8Array> => {
    const length = Math.min(PIECE, size - at);
    const used = transient ? buffers[(at / PIECE) % BUFFERS] : undefined;
    // Memory that is filled at once need not be zeros before. No Buffer: its slice is a view.
    const buffer = used?.subarray(0, length) ?? new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
    if (transient && used === undefined) buffers.push(buffer);
    const reading = readInto(file, buffer, offset + at);
    // It is awaited when its turn comes, and not at all if the reader leaves before.
    reading.catch(() => undefined);
    return reading;
  };
  let next = size > 0 ? read(0) : undefined;
  try {
    for (let at = 0; next !== undefined; at += PIECE) {
      signal?.throwIfAborted();
      const piece = await next;
      next = at + PIECE < size ? read(at + PIECE) : undefined;
      yield piece;
    }
  } finally {
    // Nobody closes the file under a read.
    await next?.catch(() => undefined);
  }
}

/** Exactly `length` bytes from `offset`. Throws `size-mismatch` where the file ends before. */
export function readBytes(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  return readInto(file, new Uint8Array(length), offset);
}

async function readInto(file: FileHandle, bytes: Uint8Array, offset: number): Promise<Uint8Array> {
  for (let filled = 0; filled < bytes.length; ) {
    const { bytesRead } = await file
      .read(bytes, filled, bytes.length - filled, offset + filled)
      .catch((error: unknown) => {
        throw asAccelError(error);
      });
    if (bytesRead === 0) {
      throw new AccelError('size-mismatch', 'the file ended before the range that was asked for', {
        where: { offset },
        expected: bytes.length,
        found: filled,
      });
    }
    filled += bytesRead;
  }
  return bytes;
}

/** The file of {@link writeAll}, for the error. */
export interface WrittenPlace {
  readonly path: string;
  /** What to do where there is no room; by default, to make some. */
  readonly roomHint?: string;
}

/**
 * Writes all of `bytes` at `offset`. The system may take fewer at a time, as it does where the disk is nearly full, and
 * refuses the rest with the next call. Throws `io-error` with the path, which Node does not tell of an open file.
 */
export async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number, place: WrittenPlace): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file
      .write(bytes, done, bytes.length - done, offset + done)
      .catch((error: unknown) => {
        throw unwritten(error, place);
      });
    done += bytesWritten;
  }
}

/** Codes of a disk, a quota and a limit of the process that have no room left. */
const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

function unwritten(cause: unknown, { path, roomHint = 'Make room there.' }: WrittenPlace): AccelError {
  const { message, code } = cause as NodeJS.ErrnoException;
  return new AccelError('io-error', message, { where: { path }, ...(FULL.has(code) ? { hint: roomHint } : {}), cause });
}
