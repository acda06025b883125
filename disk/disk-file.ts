/**
 * Reads and writes a file by position. Node's errors do not name the file, and its calls may transfer fewer bytes than
 * asked: here every error has the path, and a call transfers all bytes or fails.
 */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Advice } from '../base/advice.ts';
import type { BlobSource } from '../base/byte-source.ts';
import { AccelError, asAccelError } from '../base/error.ts';
import { assertRegular } from './file-kind.ts';

/** Bytes of a piece. */
const PIECE = 1 << 20;
/** One is in use, one is held back until all is verified, one is being read, and one is in transition. */
const BUFFERS = 4;

/** The part of a file to read. */
export interface FilePart {
  readonly offset: number;
  readonly size: number;
  readonly signal?: AbortSignal | undefined;
  /** Reuse memory: a piece is valid until the second piece after it is requested. */
  readonly transient?: boolean | undefined;
  /** Memory of transient pieces, of earlier reads; what is missing is added. For one reader at a time. */
  readonly memory?: Uint8Array[] | undefined;
}

/** Details for errors of a {@link DiskFile}. */
export interface ErrorContext {
  /** The path that the user knows, where the file has a temporary one. */
  readonly shown?: string;
  /** Hint for a full disk; by default, to make room. */
  readonly roomHint?: string | Advice;
}

/** An open file. Everything rejects with `io-error`, which has the path, when the system refuses. */
export class DiskFile {
  readonly path: string;
  /** Node's handle, for operations that this class does not wrap. */
  readonly handle: FileHandle;
  readonly #shown: string;
  readonly #roomHint: string | Advice;

  constructor(path: string, handle: FileHandle, context: ErrorContext = {}) {
    this.path = path;
    this.handle = handle;
    this.#shown = context.shown ?? path;
    this.#roomHint = context.roomHint ?? 'Make room there.';
  }

  /**
   * Opens an existing regular file for reading. Anything else (a FIFO, a socket, a device, a directory) is an error and
   * never waited for: even a FIFO that appears after the check is opened without blocking.
   */
  static async open(path: string, context?: ErrorContext): Promise<DiskFile> {
    await assertRegular(path, context?.shown);
    // Windows has no O_NONBLOCK.
    const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
    return new DiskFile(path, await opened(path, flags, 0), context);
  }

  /** Creates a new file for writing and reading; fails if it exists. */
  static async create(path: string, mode: number, context?: ErrorContext): Promise<DiskFile> {
    const { O_RDWR, O_CREAT, O_EXCL } = constants;
    return new DiskFile(path, await opened(path, O_RDWR | O_CREAT | O_EXCL, mode), context);
  }

  /** Its size in bytes. */
  async size(): Promise<number> {
    return (await this.handle.stat().catch((error: unknown) => this.#fail(error))).size;
  }

  /** Reads exactly `length` bytes from `offset`. Rejects with `size-mismatch` if the file ends earlier. */
  read(offset: number, length: number): Promise<Uint8Array> {
    return this.#readInto(new Uint8Array(length), offset);
  }

  /** Reads at most `limit` bytes from the start of a file that does not report its size. */
  async readUpTo(limit: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(limit);
    let filled = 0;
    while (filled < limit) {
      const { bytesRead } = await this.handle
        .read(bytes, filled, limit - filled, null)
        .catch((error: unknown) => this.#fail(error));
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  }

  /**
   * Reads exactly the bytes of a part in pieces, and reads ahead by one piece. Rejects with `size-mismatch` if the file
   * ends earlier.
   */
  async *pieces(part: FilePart): AsyncGenerator<Uint8Array, void, undefined> {
    const { offset, size, signal, transient = false, memory } = part;
    const buffers = memory ?? [];
    const read = (at: number): Promise<Uint8Array> => {
      const length = Math.min(PIECE, size - at);
      const used = transient ? buffers[(at / PIECE) % BUFFERS] : undefined;
      // The memory is filled at once and need not be zeroed. Not a Buffer, whose slice is a view.
      const whole = used ?? new Uint8Array(Buffer.allocUnsafeSlow(memory === undefined ? length : PIECE).buffer);
      if (transient && used === undefined) buffers.push(whole);
      const buffer = whole.subarray(0, length);
      const reading = this.#readInto(buffer, offset + at);
      // Awaited when its turn comes, or never if the reader stops before.
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
      // Let the read finish before the file is closed.
      await next?.catch(() => undefined);
    }
  }

  /** Writes all of `bytes` at `offset`. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      // On a nearly full disk a call writes what fits, and the next one fails.
      const { bytesWritten } = await this.handle
        .write(bytes, done, bytes.length - done, offset + done)
        .catch((error: unknown) => this.#fail(error));
      done += bytesWritten;
    }
  }

  /** Sets the size of the file; a larger size adds a hole at the end. */
  async truncate(size: number): Promise<void> {
    await this.handle.truncate(size).catch((error: unknown) => this.#fail(error));
  }

  /** Closes the file. A network file system may report lost writes only here. */
  async close(): Promise<void> {
    await this.handle.close().catch((error: unknown) => this.#fail(error));
  }

  async #readInto(bytes: Uint8Array, offset: number): Promise<Uint8Array> {
    for (let filled = 0; filled < bytes.length; ) {
      const { bytesRead } = await this.handle
        .read(bytes, filled, bytes.length - filled, offset + filled)
        .catch((error: unknown) => this.#fail(error));
      if (bytesRead === 0) {
        throw new AccelError('size-mismatch', 'the file ended before the range that was asked for', {
          where: { path: this.#shown, offset },
          expected: bytes.length,
          found: filled,
        });
      }
      filled += bytesRead;
    }
    return bytes;
  }

  #fail(cause: unknown): never {
    const { message, code } = cause as NodeJS.ErrnoException;
    const hint = FULL.has(code) ? { hint: this.#roomHint } : {};
    throw new AccelError('io-error', message, { where: { path: this.#shown }, ...hint, cause });
  }
}

/** Reads a file, or a part of it, as {@link DiskFile.pieces} does; the file is open only meanwhile. */
export async function* readFile(
  path: string,
  part: Partial<FilePart> = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const file = await DiskFile.open(path);
  try {
    const { offset = 0, size = (await file.size()) - offset } = part;
    yield* file.pieces({ ...part, offset, size });
  } finally {
    await file.close();
  }
}

/** Error codes of a full disk, an exhausted quota and the file size limit of the process. */
const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

function opened(path: string, flags: number, mode: number): Promise<FileHandle> {
  return open(path, flags, mode).catch((error: unknown) => {
    throw asAccelError(error);
  });
}

/** A file as a source: streamed 1 MiB at a time, and opened again by each `open()`. */
export function fileSource(path: string): BlobSource {
  return { open: () => readFile(path) };
}
