/**
 * A lock between processes that write to one file: of this machine, of other containers, and of other machines that
 * share the disk. It is Lamport's bakery algorithm with files as its variables, because nothing else that Node offers
 * is both atomic everywhere and free of the race of "is this lock file stale? then remove it": each contender only ever
 * creates and removes files of its own name, so what a killed process left can be removed by anyone at any time.
 *
 * Ticket 0 means "choosing a ticket". A file that exists during the whole of a readdir is returned by it (POSIX), which
 * is all that the algorithm needs.
 */
import { createHash } from 'node:crypto';
import { readdir, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AccelError, asAccelError } from '../base/error.ts';
import { MARK_PATTERN, processMark, stateOfMark } from './process-mark.ts';
import { removeFile } from './remove-file.ts';

/** Options of {@link withLock}. */
export interface LockOptions {
  /** Aborts the wait with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds without progress of any contender after which the wait fails. */
  readonly patience?: number;
}

/** A lock that this process holds. */
export interface HeldLock {
  /** Aborts what is done under the lock: the signal that the lock was waited for with. */
  readonly signal: AbortSignal | undefined;
  /**
   * Throws `io-error` if another machine considered this process dead and took the lock. Call it right before the
   * change that the lock protects.
   */
  confirm(): Promise<void>;
}

const PATIENCE = 60_000;
/**
 * A process that cannot be seen from here counts as gone when its file was not touched for this long, in milliseconds.
 */
const SILENCE = 30_000;
/** Interval at which a process touches its file, in milliseconds. */
const HEARTBEAT = 5_000;
const SHORTEST_PAUSE = 2;
const LONGEST_PAUSE = 50;

/** Source of a regular expression that matches the name of a file of any lock; its group is the process mark. */
export const LOCK_PATTERN = `\\.accel-lock-[0-9a-f]{8}-\\d{1,15}-(${MARK_PATTERN})-\\d{1,15}`;

/** Distinguishes the contenders of one process. */
let counter = 0;

/** Runs `body` while no other process, and nothing else in this one, holds the lock of the file `target`. */
export async function withLock<T>(
  target: string,
  body: (lock: HeldLock) => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const contender = new Contender(target);
  try {
    await contender.enter(options);
    return await body(contender);
  } finally {
    await contender.leave();
  }
}

/** Another contender, as its file says. */
interface Other {
  readonly name: string;
  readonly ticket: number;
  readonly owner: string;
  readonly mark: string;
}

class Contender implements HeldLock {
  signal: AbortSignal | undefined;
  readonly #target: string;
  readonly #directory: string;
  readonly #prefix: string;
  readonly #pattern: RegExp;
  readonly #owner: string;
  readonly #watch = new Watch();
  #ticket = 0;
  #files: string[] = [];
  #heart: NodeJS.Timeout | undefined;

  constructor(target: string) {
    counter += 1;
    this.#target = target;
    this.#directory = path.dirname(target);
    // A hash: the name itself may be as long as a name can be.
    const hash = createHash('sha256').update(path.basename(target)).digest('hex').slice(0, 8);
    this.#prefix = `.accel-lock-${hash}`;
    this.#pattern = new RegExp(`^\\.accel-lock-${hash}-(\\d{1,15})-((${MARK_PATTERN})-\\d{1,15})$`);
    this.#owner = `${processMark()}-${counter}`;
  }

  /** Waits for the lock. Throws `io-error` when nothing moves for as long as the patience lasts. */
  async enter({ signal, patience = PATIENCE }: LockOptions): Promise<void> {
    this.signal = signal;
    try {
      await this.#draw();
      this.#heart = setInterval(() => void this.#beat(), HEARTBEAT);
      this.#heart.unref();
      const choosing = new Set((await this.#others()).filter(({ ticket }) => ticket === 0).map(({ name }) => name));
      await this.#until((other) => choosing.has(other.name), patience, signal);
      await this.#until((other) => other.ticket > 0 && this.#isBefore(other), patience, signal);
    } catch (error) {
      throw signal?.aborted === true ? error : asAccelError(error);
    }
  }

  async confirm(): Promise<void> {
    const own = this.#fileOf(this.#ticket);
    if (await stat(own).catch(() => undefined)) return;
    throw new AccelError('io-error', 'another machine considered this process dead and took the lock of the file', {
      where: { path: this.#target },
      expected: own,
      found: 'no such file',
      hint: 'Run it again; nothing was changed.',
    });
  }

  async leave(): Promise<void> {
    clearInterval(this.#heart);
    // A file that cannot be removed is left to the next contender: this process is gone by then.
    for (const file of this.#files) await removeFile(file).catch(() => undefined);
    this.#files = [];
  }

  /** Takes a ticket higher than all existing ones. */
  async #draw(): Promise<void> {
    await this.#create(0);
    this.#ticket = 1 + Math.max(0, ...(await this.#others()).map(({ ticket }) => ticket));
    await this.#create(this.#ticket);
    await removeFile(this.#fileOf(0));
  }

  async #create(ticket: number): Promise<void> {
    const file = this.#fileOf(ticket);
    this.#files.push(file);
    await writeFile(file, '', { flag: 'wx' });
  }

  #fileOf(ticket: number): string {
    return path.join(this.#directory, `${this.#prefix}-${ticket}-${this.#owner}`);
  }

  #isBefore({ ticket, owner }: Other): boolean {
    return ticket < this.#ticket || (ticket === this.#ticket && owner < this.#owner);
  }

  /** Waits until `isAhead` matches no living contender. */
  async #until(isAhead: (other: Other) => boolean, patience: number, signal: AbortSignal | undefined): Promise<void> {
    let pause = SHORTEST_PAUSE;
    let moved = performance.now();
    let before = '';
    for (;;) {
      signal?.throwIfAborted();
      const ahead = (await this.#others()).filter(isAhead);
      if (ahead.length === 0) return;
      const now = ahead.map(({ name }) => name).join();
      if (now !== before) moved = performance.now();
      else if (performance.now() - moved > patience) throw this.#stuck(ahead[0]!, patience);
      before = now;
      await delay(pause, undefined, { signal });
      pause = Math.min(LONGEST_PAUSE, pause * 2);
    }
  }

  /** The other living contenders; removes the files of dead ones. */
  async #others(): Promise<Other[]> {
    const others: Other[] = [];
    for (const name of await readdir(this.#directory)) {
      const [, ticket, owner, mark] = this.#pattern.exec(name) ?? [];
      if (ticket === undefined || owner === undefined || mark === undefined || owner === this.#owner) continue;
      const file = path.join(this.#directory, name);
      if (await this.#watch.isDead(file, mark)) {
        // It is ignored even if this user may not remove it.
        await removeFile(file).catch(() => undefined);
      } else others.push({ name, ticket: Number(ticket), owner, mark });
    }
    return others;
  }

  async #beat(): Promise<void> {
    const now = new Date();
    // If it was removed, confirm() reports that.
    await utimes(this.#fileOf(this.#ticket), now, now).catch(() => undefined);
  }

  #stuck({ name, mark }: Other, patience: number): AccelError {
    const pid =
      stateOfMark(mark) === 'alive' ? `process ${mark.split('-')[3]}` : 'a process of another machine or container';
    return new AccelError('io-error', 'another process keeps the lock of the file', {
      where: { path: this.#target },
      expected: `an end of its writing within ${patience / 1000} s`,
      found: `${pid}, by ${path.join(this.#directory, name)}`,
      hint: 'Wait for that process or end it, and run this again.',
    });
  }
}

/**
 * Determines whether contenders are alive: by their process if it is visible from here, otherwise by their heartbeat.
 */
class Watch {
  readonly #seen = new Map<string, { readonly touched: number; readonly since: number }>();

  async isDead(file: string, mark: string): Promise<boolean> {
    const state = stateOfMark(mark);
    if (state !== 'elsewhere') return state === 'gone';
    const touched = (await stat(file).catch(() => undefined))?.mtimeMs;
    // It was removed by its owner since the folder was listed.
    if (touched === undefined) return true;
    const last = this.#seen.get(file);
    // Only this machine's clock counts: the clocks of two machines may differ by more than {@link SILENCE}.
    if (last?.touched !== touched) this.#seen.set(file, { touched, since: performance.now() });
    else if (performance.now() - last.since > SILENCE) return true;
    return false;
  }
}
