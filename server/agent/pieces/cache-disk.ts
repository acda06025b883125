/**
 * The disk under the cache: how much of it may still be used, and whether it can be written at all. Where it cannot (the folder
 * was removed, the file system is gone or read-only), it is tried again after 1, 2, 4 … 30 s, until it can.
 */
import { mkdir, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Parts and settings of {@link CacheDisk}. */
export interface CacheDiskOptions {
  /** Folder of the cache. */
  readonly directory: string;
  /** Share of the file system to keep free, 0 to 1. */
  readonly keepFree: number;
  /** Whether the folder is to be left alone now. */
  readonly isFrozen: () => boolean;
  /** Called before the disk counts as usable again: what is there may be something else. */
  readonly onBack: () => Promise<void>;
  /** Hears why the disk cannot be used, once for each time; undefined when it can again. */
  readonly onProblem?: ((problem: string | undefined) => void) | undefined;
  /** Milliseconds before the first further try. */
  readonly retryAfter?: number | undefined;
}

/** Milliseconds before the first further try, and the longest wait between two. */
const RETRY_AFTER = 1_000;
const LONGEST_WAIT = 30_000;
/** Milliseconds for which an answer of statfs is believed. */
const FREE_SPACE_AGE = 1_000;
/** A file that is written and removed to see whether that works. */
const PROBE = '.probe';
/** Errors of a disk that is full: the next piece may find room. */
const FULL = ['ENOSPC', 'EDQUOT'];

/** See the head of the file. */
export class CacheDisk {
  readonly #o: CacheDiskOptions;
  #problem: string | undefined;
  #wait: number;
  #timer: NodeJS.Timeout | undefined;
  #space: { readonly at: number; free: number } | undefined;
  #closed = false;

  constructor(options: CacheDiskOptions) {
    this.#o = options;
    this.#wait = options.retryAfter ?? RETRY_AFTER;
  }

  /** Why the disk cannot be used; undefined when it can. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Bytes of the file system that may still be used. Rejects with the system's error. */
  async free(): Promise<number> {
    const now = performance.now();
    if (this.#space === undefined || now - this.#space.at > FREE_SPACE_AGE) {
      const { bavail, blocks, bsize } = await statfs(this.#o.directory);
      this.#space = { at: now, free: bavail * bsize - blocks * bsize * this.#o.keepFree };
    }
    return this.#space.free;
  }

  /** So many bytes were written. */
  took(bytes: number): void {
    if (this.#space !== undefined) this.#space.free -= bytes;
  }

  /** Something was removed: the system is asked again. */
  gave(): void {
    this.#space = undefined;
  }

  /** Looks whether the folder is still there. */
  async look(): Promise<void> {
    try {
      const facts = await stat(this.#o.directory);
      if (!facts.isDirectory()) throw new Error(`${this.#o.directory} is no folder`);
    } catch (error) {
      this.failed(error);
    }
  }

  /** Something could not be written. */
  failed(error: unknown): void {
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (this.#problem !== undefined || this.#closed || FULL.includes(code)) return;
    this.#problem = message;
    this.#o.onProblem?.(message);
    this.#tryLater();
  }

  /** Stops trying. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #tryLater(): void {
    this.#timer = setTimeout(() => void this.#try(), this.#wait).unref();
    this.#wait = Math.min(LONGEST_WAIT, this.#wait * 2);
  }

  async #try(): Promise<void> {
    const { directory, isFrozen, onBack, onProblem, retryAfter = RETRY_AFTER } = this.#o;
    try {
      if (isFrozen()) return this.#tryLater();
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await writeFile(join(directory, PROBE), '', { mode: 0o600 });
      await rm(join(directory, PROBE), { force: true });
      this.#space = undefined;
      await onBack();
    } catch (error) {
      this.#problem = (error as Error).message;
      if (!this.#closed) this.#tryLater();
      return;
    }
    this.#problem = undefined;
    this.#wait = retryAfter;
    onProblem?.(undefined);
  }
}
