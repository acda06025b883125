/** Bounds on what an agent does at once and a second: token buckets by bytes, and slots. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DIRECT, STREAM, type Urgency, UrgencyQueue } from './urgency.ts';

/** Longest that a bucket saves up, in seconds of its rate: short, so that a burst does not outrun the limit. */
const BURST_SECONDS = 0.1;

/** A debt of fewer bytes is ignored: times are not exact. */
const LEAST = 1;

/** The time as a bucket sees it, in milliseconds. */
export interface Clock {
  readonly now: () => number;
  readonly sleep: (milliseconds: number) => Promise<void>;
}

const CLOCK: Clock = { now: () => performance.now(), sleep: (milliseconds) => sleep(milliseconds) };

/** Limits bytes a second. Of those who wait the most urgent are served first, equals in order. */
export class TokenBucket {
  readonly #rate: number;
  readonly #clock: Clock;
  readonly #queue = new UrgencyQueue<number>();
  #tokens: number;
  #filled: number;
  #serving = false;

  /** `rate` in bytes a second; `Infinity` for no limit. */
  constructor(rate: number, clock: Clock = CLOCK) {
    this.#rate = rate;
    this.#clock = clock;
    this.#tokens = rate * BURST_SECONDS;
    this.#filled = clock.now();
  }

  /** Callers that wait for bytes. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Resolves when `bytes` may be moved. Rejects with the signal's reason. */
  async take(bytes: number, signal?: AbortSignal, urgency: Urgency = STREAM): Promise<void> {
    signal?.throwIfAborted();
    if (this.#rate === Number.POSITIVE_INFINITY || bytes === 0) return;
    const turn = this.#queue.wait(bytes, { urgency, signal });
    if (!this.#serving) void this.#serve();
    await turn;
  }

  /** Gives back bytes that were taken and not moved. */
  giveBack(bytes: number): void {
    if (this.#rate === Number.POSITIVE_INFINITY) return;
    this.#fill();
    this.#tokens = Math.min(this.#rate * BURST_SECONDS, this.#tokens + bytes);
  }

  async #serve(): Promise<void> {
    this.#serving = true;
    while (this.#queue.size > 0) {
      this.#fill();
      // The balance may go below zero: a piece larger than the burst is paid for by whoever comes next.
      if (this.#tokens <= -LEAST) {
        await this.#clock.sleep((-this.#tokens / this.#rate) * 1000);
        continue;
      }
      // Chosen after the wait: someone more urgent may have come meanwhile.
      this.#tokens -= this.#queue.next() ?? 0;
    }
    this.#serving = false;
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
  readonly #queue = new UrgencyQueue<undefined>();
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
    return this.#queue.size;
  }

  /** Runs `task` when there is a slot. Undefined, and nothing runs, when too many wait already. Rejects with the signal's reason. */
  async run<T>(
    task: () => Promise<T>,
    { urgency = DIRECT, signal }: { readonly urgency?: Urgency; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T | undefined> {
    signal?.throwIfAborted();
    if (this.#held < this.#limit) this.#held += 1;
    else if (this.#queue.size >= this.#mostWaiting) return undefined;
    // The slot of the one who leaves goes straight to the next in line.
    else await this.#queue.wait(undefined, { urgency, signal });
    try {
      return await task();
    } finally {
      if (this.#queue.size === 0) this.#held -= 1;
      else this.#queue.next();
    }
  }
}
