/**
 * A file that is read and written by position. Node's errors of an open file do not say which one it is, and its calls may
 * do less than they were asked for: here each error has the path, and all is read or written, or it is an error.
 */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Advice } from '../base/advice.ts';
import type { BlobSource } from '../base/byte-source.ts';
import { AccelError, asAccelError } from '../base/error.ts';
import { assertRegular } from './file-kind.ts';

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

/** How a {@link DiskFile} is told in errors. */
export interface DiskFileTelling {
  /** The path that the user knows, where the file has a temporary one. */
  readonly shown?: string;
  /** What to do where the disk has no room left; by default, to make some. */
  readonly roomHint?: string | Advice;
}

/** An open file. Everything rejects with `io-error`, which has the path, when the system refuses. */
export class DiskFile {
  readonly path: string;
  /** Node's own, for what is not wrapped here. */
  readonly handle: FileHandle;
  readonly #shown: string;
  readonly #roomHint: string | Advice;

  constructor(path: string, handle: FileHandle, telling: DiskFileTelling = {}) {
    this.path = path;
    this.handle = handle;
    this.#shown = telling.shown ?? path;
    this.#roomHint = telling.roomHint ?? 'Make room there.';
  }

  /**
   * Opens a regular file that is there, to read it. What is none (a FIFO, a socket, a device, a directory) is refused and
   * never waited for: one put in place after the check is opened without blocking.
   */
  static async open(path: string, telling?: DiskFileTelling): Promise<DiskFile> {
    await assertRegular(path, telling?.shown);
    // Windows has no O_NONBLOCK.
    const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
    return new DiskFile(path, await opened(path, flags, 0), telling);
  }

  /** Makes a file that is not there yet, to write and read it. */
  static async create(path: string, mode: number, telling?: DiskFileTelling): Promise<DiskFile> {
    const { O_RDWR, O_CREAT, O_EXCL } = constants;
    return new DiskFile(path, await opened(path, O_RDWR | O_CREAT | O_EXCL, mode), telling);
  }

  /** Its size in bytes. */
  async size(): Promise<number> {
    return (await this.handle.stat().catch((error: unknown) => this.#fail(error))).size;
  }

  /** Exactly `length` bytes from `offset`. Rejects with `size-mismatch` where the file ends before. */
  read(offset: number, length: number): Promise<Uint8Array> {
    return this.#readInto(new Uint8Array(length), offset);
  }

  /** The bytes from the start, at most `limit`, of a file that does not announce its size. */
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
   * Exactly the bytes of a part, piece by piece: the next is on its way while one is used. Rejects with `size-mismatch`
   * where the file ends before.
   */
  async *pieces(part: FilePart): AsyncGenerator<Uint8Array, void, undefined> {
    const { offset, size, signal, transient = false } = part;
    const buffers: Uint8Array[] = [];
    const read = (at: number): Promise<Uint8Array> => {
      const length = Math.min(PIECE, size - at);
      const used = transient ? buffers[(at / PIECE) % BUFFERS] : undefined;
      // Memory that is filled at once need not be zeros before. No Buffer: its slice is a view.
      const buffer = used?.subarray(0, length) ?? new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
      if (transient && used === undefined) buffers.push(buffer);
      const reading = this.#readInto(buffer, offset + at);
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

  /** Writes all of `bytes` at `offset`. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      // On a disk that is nearly full it takes what has room; the next call is refused.
      const { bytesWritten } = await this.handle
        .write(bytes, done, bytes.length - done, offset + done)
        .catch((error: unknown) => this.#fail(error));
      done += bytesWritten;
    }
  }

  /** Cuts the file off behind `size` bytes, or lets it end in a hole. */
  async truncate(size: number): Promise<void> {
    await this.handle.truncate(size).catch((error: unknown) => this.#fail(error));
  }

  /** Lets go of the file. What a network's disk could not keep it may say here alone. */
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

/** A file's bytes, or those of a part, in pieces as of {@link DiskFile.pieces}; the file is open while they are read. */
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

/** Codes of a disk, a quota and a limit of the process that have no room left. */
const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

function opened(path: string, flags: number, mode: number): Promise<FileHandle> {
  return open(path, flags, mode).catch((error: unknown) => {
    throw asAccelError(error);
  });
}

/** A file as a source: it is streamed, 1 MiB at a time, and opened anew by each `open()`. */
export function fileSource(path: string): BlobSource {
  return { open: () => readFile(path) };
}
