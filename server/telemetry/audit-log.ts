/**
 * The audit log: a line for each operation, in the form of DADI's agent. Lines are gathered and written together; where the
 * output is too slow they are dropped and counted, since no read of an image may wait for its log.
 */
import { close, fstat, open, rename, stat, write } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { withLock } from '../../disk/lock.ts';

/** An operation, by the name that it has in the log. */
export type AuditOperation = 'http:pread' | 'rpc:stat' | 'rpc:pread' | 'download' | 'filewrite' | 'fileread';

/** One line. */
export interface AuditEntry {
  readonly operation: AuditOperation;
  /** Without query and credentials. */
  readonly pathname: string;
  readonly offset: number;
  /** Bytes; negative where the operation failed. */
  readonly size: number;
  /** Microseconds. */
  readonly latency: number;
}

/** Where the lines go. */
export type AuditTarget =
  | { readonly mode: 'stdout' }
  | {
      readonly mode: 'file';
      readonly path: string;
      /** Bytes after which the file is renamed and another begun. */
      readonly rotateAt: number;
      /** Files that are kept beside the current one, at least one. */
      readonly keep: number;
    };

/** Bytes that wait to be written; further lines are dropped. */
const MOST_PENDING = 1024 * 1024;
/** Milliseconds for which lines are gathered. */
const FLUSH_EVERY = 200;
/** Milliseconds before an output is tried again that takes nothing. */
const TRY_AGAIN = 100;
/** Milliseconds that another process may take for renaming before this one goes on in the same file. */
const ROTATION_WAIT = 2_000;
const STDOUT = 1;
const NEWLINE = 0x0a;

const writeAsync = promisify(write);

/** See the head of the file. */
export class AuditLog {
  readonly #target: AuditTarget;
  readonly #onDropped: (lines: number) => void;
  readonly #onProblem: (problem: Error) => void;
  readonly #clock = new LineClock();
  readonly #thread = `|AUDIT|th=${process.pid.toString(16).toUpperCase().padStart(16, '0')}|`;
  #pending: string[] = [];
  #pendingBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #fd: number | undefined;
  #failed = false;
  /** Whether the output ends in the middle of a line. */
  #isTorn = false;

  constructor(
    target: AuditTarget,
    events: { readonly onDropped: (lines: number) => void; readonly onProblem: (problem: Error) => void },
  ) {
    this.#target = target;
    this.#onDropped = events.onDropped;
    this.#onProblem = events.onProblem;
  }

  /** Takes a line; never waits, never throws. */
  note({ operation, pathname, offset, size, latency }: AuditEntry): void {
    const line =
      `${this.#clock.text()}${this.#thread}${operation}[pathname=${escapePathname(pathname)}]` +
      `[offset=${offset}][size=${size}][latency=${Math.round(latency)}]\n`;
    if (this.#pendingBytes + line.length > MOST_PENDING) {
      this.#onDropped(1);
      return;
    }
    this.#pending.push(line);
    this.#pendingBytes += line.length;
    this.#timer ??= setTimeout(() => this.#flush(), FLUSH_EVERY).unref();
  }

  /** Writes what is pending; resolves when it has been written or dropped. */
  async flushed(): Promise<void> {
    while (this.#pending.length > 0 || this.#writing !== undefined) {
      this.#flush();
      await this.#writing;
    }
  }

  /** Writes what is pending, for at most `milliseconds`, and closes the file. */
  async close(milliseconds = 1_000): Promise<void> {
    const over = new AbortController();
    await Promise.race([
      this.flushed(),
      sleep(milliseconds, undefined, { signal: over.signal }).catch(() => undefined),
    ]);
    over.abort();
    if (this.#fd !== undefined) close(this.#fd, () => undefined);
    this.#fd = undefined;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // One write at a time: a slow output holds one thread of Node's pool, and no more.
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = undefined;
      if (this.#pending.length > 0) this.#timer ??= setTimeout(() => this.#flush(), FLUSH_EVERY).unref();
    });
  }

  async #drain(): Promise<void> {
    const lines = this.#pending;
    if (lines.length === 0) return;
    this.#pending = [];
    // A line that was cut by a full disk ends here.
    const batch = Buffer.from(`${this.#isTorn ? '\n' : ''}${lines.join('')}`);
    const written = { bytes: 0 };
    try {
      await this.#write(batch, written);
      this.#isTorn = false;
      this.#failed = false;
    } catch (error) {
      const whole = batch.subarray(0, written.bytes);
      if (whole.length > 0) this.#isTorn = whole.at(-1) !== NEWLINE;
      this.#onDropped(lines.length - lineEnds(whole.subarray(batch[0] === NEWLINE ? 1 : 0)));
      // Said once, until it works again.
      if (!this.#failed) this.#onProblem(error as Error);
      this.#failed = true;
    } finally {
      this.#pendingBytes -= lines.reduce((sum, { length }) => sum + length, 0);
    }
  }

  /** Writes all of it; `written` says how far it came. */
  async #write(batch: Buffer, written: { bytes: number }): Promise<void> {
    const fd = this.#target.mode === 'stdout' ? STDOUT : await this.#fileFor(batch.length);
    while (written.bytes < batch.length) {
      try {
        const { bytes } = written;
        written.bytes += (await writeAsync(fd, batch, bytes, batch.length - bytes)).bytesWritten;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        await sleep(TRY_AGAIN);
      }
    }
  }

  /** The file to append to; another one where this batch would make it too large, or where it was taken away. */
  async #fileFor(bytes: number): Promise<number> {
    const target = this.#target as Extract<AuditTarget, { mode: 'file' }>;
    const { path, rotateAt } = target;
    const fd = await this.#present(path);
    if (!(await this.#isFull(fd, bytes, rotateAt))) return fd;
    // Two processes write here while one takes over from the other: only one of them may rename, or lines would be lost.
    await withLock(
      path,
      async () => {
        if (await this.#isFull(await this.#present(path), bytes, rotateAt)) await this.#rotate(target);
      },
      { patience: ROTATION_WAIT },
      // Without the lock, as on a full disk, the file grows until it can be had.
    ).catch(() => undefined);
    return this.#present(path);
  }

  /** The file of this name: another process, or logrotate, may have renamed the one that was open. */
  async #present(path: string): Promise<number> {
    if (this.#fd !== undefined && (await inodeOf(path)) !== (await inodeOf(this.#fd))) await this.#closeFile();
    return this.#fd ?? this.#openFile(path);
  }

  /** The file knows its size, which others add to. */
  async #isFull(fd: number, bytes: number, rotateAt: number): Promise<boolean> {
    const { size } = await promisify(fstat)(fd);
    return size > 0 && size + bytes > rotateAt;
  }

  async #rotate({ path, keep }: Extract<AuditTarget, { mode: 'file' }>): Promise<void> {
    await this.#closeFile();
    for (let index = keep; index > 0; index--) {
      await promisify(rename)(index === 1 ? path : `${path}.${index - 1}`, `${path}.${index}`).catch(() => undefined);
    }
  }

  async #openFile(path: string): Promise<number> {
    await mkdir(dirname(path), { recursive: true, mode: 0o750 });
    this.#fd = await promisify(open)(path, 'a', 0o640);
    return this.#fd;
  }

  async #closeFile(): Promise<void> {
    const fd = this.#fd!;
    this.#fd = undefined;
    await promisify(close)(fd);
  }
}

function lineEnds(bytes: Uint8Array): number {
  return bytes.reduce((count, byte) => count + (byte === NEWLINE ? 1 : 0), 0);
}

/** The inode of a file, by path or descriptor; undefined for a file that does not exist. */
async function inodeOf(file: string | number): Promise<number | undefined> {
  const facts = typeof file === 'string' ? promisify(stat)(file) : promisify(fstat)(file);
  return facts.then(
    ({ ino }) => ino,
    () => undefined,
  );
}

/** Percent-encodes what would end a field or a line. */
function escapePathname(pathname: string): string {
  return pathname.replace(/[^!-Z\\^-z~]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

/** `YYYY/MM/DD HH:MM:SS` in the zone of the machine, made once a second. */
class LineClock {
  #second = -1;
  #text = '';

  text(): string {
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      const date = new Date(now);
      const two = (value: number): string => String(value).padStart(2, '0');
      this.#second = second;
      this.#text =
        `${date.getFullYear()}/${two(date.getMonth() + 1)}/${two(date.getDate())} ` +
        `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
    }
    return this.#text;
  }
}
