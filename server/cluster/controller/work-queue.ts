/**
 * A queue of keys to bring in order: a key waits at most once, one that fails comes again after a wait that doubles, and a few are
 * worked on at a time. A key that is added while it is worked on comes again afterwards.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** Settings of a queue. */
export interface WorkQueueOptions {
  /** Brings a key in order; the signal fires when the queue closes. */
  readonly work: (key: string, signal: AbortSignal) => Promise<void>;
  readonly onFailure: (key: string, error: unknown) => void;
  /** Keys that are worked on at a time. */
  readonly atOnce: number;
  /** Milliseconds of the first wait after a failure, and of the longest. */
  readonly firstWait?: number;
  readonly longestWait?: number;
}

/** Milliseconds. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 60_000;

/** A queue of keys; it holds each key once, so no more than there are objects. */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #stop = new AbortController();
  /** In the order in which they came. */
  readonly #waiting = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();
  /** Failures in a row, by key. */
  readonly #failures = new Map<string, number>();
  readonly #pauses = new Set<Promise<void>>();

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Keys that wait, are worked on, or pause after a failure. */
  get size(): number {
    return this.#waiting.size + this.#running.size + this.#pauses.size;
  }

  /** Adds a key. */
  add(key: string): void {
    if (this.#stop.signal.aborted) return;
    this.#waiting.add(key);
    this.#next();
  }

  /** Ends what is being worked on, and forgets the rest. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#waiting.clear();
    await Promise.all([...this.#running.values(), ...this.#pauses]);
  }

  #next(): void {
    for (const key of this.#waiting) {
      if (this.#running.size >= this.#options.atOnce) return;
      if (this.#running.has(key)) continue;
      this.#waiting.delete(key);
      const work = this.#run(key).finally(() => {
        this.#running.delete(key);
        this.#next();
      });
      this.#running.set(key, work);
    }
  }

  async #run(key: string): Promise<void> {
    try {
      await this.#options.work(key, this.#stop.signal);
      this.#failures.delete(key);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#options.onFailure(key, error);
      this.#again(key);
    }
  }

  #again(key: string): void {
    const { firstWait = FIRST_WAIT, longestWait = LONGEST_WAIT } = this.#options;
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const wait = Math.min(firstWait * 2 ** (failures - 1), longestWait);
    const pause = delay(wait / 2 + (Math.random() * wait) / 2, undefined, { signal: this.#stop.signal })
      .then(() => this.add(key))
      .catch(() => undefined)
      .finally(() => this.#pauses.delete(pause));
    this.#pauses.add(pause);
  }
}
