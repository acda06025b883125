/** Bounds on what an agent does at once and a second: token buckets by bytes, and slots. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Longest that a bucket saves up, in seconds of its rate: short, so that a burst does not outrun the limit. */
const BURST_SECONDS = 0.1;

/** The time as a bucket sees it, in milliseconds. */
export interface Clock {
  readonly now: () => number;
  readonly sleep: (milliseconds: number) => Promise<void>;
}

const CLOCK: Clock = { now: () => performance.now(), sleep: (milliseconds) => sleep(milliseconds) };

/** Limits bytes a second. Those who wait are served in order. */
export class TokenBucket {
  readonly #rate: number;
  readonly #clock: Clock;
  #tokens: number;
  #filled: number;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  /** `rate` in bytes a second; `Infinity` for no limit. */
  constructor(rate: number, clock: Clock = CLOCK) {
    this.#rate = rate;
    this.#clock = clock;
    this.#tokens = rate * BURST_SECONDS;
    this.#filled = clock.now();
  }

  /** Callers that wait for bytes. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves when `bytes` may be moved. Rejects with the signal's reason. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#rate === Number.POSITIVE_INFINITY) return;
    this.#waiting += 1;
    const turn = this.#last.then(() => this.#wait(bytes, signal));
    // A caller that gave up must not keep the next one waiting.
    this.#last = turn.catch(() => undefined);
    try {
      await unlessAborted(turn, signal);
    } finally {
      this.#waiting -= 1;
    }
  }

  async #wait(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) return;
    this.#fill();
    // The balance may go below zero: a piece larger than the burst is paid for by whoever comes next.
    if (this.#tokens < 0) {
      await unlessAborted(this.#clock.sleep((-this.#tokens / this.#rate) * 1000), signal);
      this.#fill();
    }
    this.#tokens -= bytes;
  }

  #fill(): void {
    const now = this.#clock.now();
    this.#tokens = Math.min(this.#rate * BURST_SECONDS, this.#tokens + ((now - this.#filled) / 1000) * this.#rate);
    this.#filled = now;
  }
}

/** The result of `work`; rejects with the reason of `signal` when that fires first. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  signal.throwIfAborted();
  let leave: (() => void) | undefined;
  const left = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
  });
  try {
    return await Promise.race([work, left]);
  } finally {
    signal.removeEventListener('abort', leave!);
  }
}

/** A bounded number of holders and of those who wait; urgent ones first. */
export class Slots {
  readonly #limit: number;
  readonly #mostWaiting: number;
  readonly #urgent: (() => void)[] = [];
  readonly #patient: (() => void)[] = [];
  #held = 0;

  /** `limit` holders at once, and `mostWaiting` that wait; further ones are refused. */
  constructor(limit: number, mostWaiting = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
    this.#mostWaiting = mostWaiting;
  }

  /** Slots in use. */
  get held(): number {
    return this.#held;
  }

  /** Callers that wait for one. */
  get waiting(): number {
    return this.#urgent.length + this.#patient.length;
  }

  /** Runs `task` when there is a slot. Undefined, and nothing runs, when too many wait already. Rejects with the signal's reason. */
  async run<T>(
    task: () => Promise<T>,
    { urgent = true, signal }: { readonly urgent?: boolean; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T | undefined> {
    if (!(await this.#enter(urgent ? this.#urgent : this.#patient, signal))) return undefined;
    try {
      return await task();
    } finally {
      this.#leave();
    }
  }

  async #enter(queue: (() => void)[], signal: AbortSignal | undefined): Promise<boolean> {
    signal?.throwIfAborted();
    if (this.#held < this.#limit) {
      this.#held += 1;
      return true;
    }
    if (this.waiting >= this.#mostWaiting) return false;
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        queue.splice(queue.indexOf(enter), 1);
        reject(signal?.reason);
      };
      queue.push(enter);
      signal?.addEventListener('abort', leave, { once: true });
    });
    return true;
  }

  #leave(): void {
    const next = this.#urgent.shift() ?? this.#patient.shift();
    // The slot goes straight to the next in line.
    if (next === undefined) this.#held -= 1;
    else next();
  }
}
