/** Bounds on what a process asks of servers: requests a second to each host, and bytes a second over all transfers. */
import { setTimeout } from 'node:timers/promises';

/** Bounds of a {@link Throttle}; omitted: none. */
export interface ThrottleLimits {
  /** Requests a second to one host, tries and redirects included. */
  readonly requests?: number;
  /** Bytes of bodies a second, sent and received together. */
  readonly bytes?: number;
}

/** Clock of a {@link Throttle}. */
export interface ThrottleClock {
  /** Milliseconds from any fixed moment; never goes back. */
  readonly now: () => number;
  /** Waits `milliseconds`, or rejects with the signal's reason. */
  readonly sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
}

const CLOCK: ThrottleClock = {
  now: () => performance.now(),
  sleep: async (milliseconds, signal) => {
    await setTimeout(milliseconds, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw error;
    });
  },
};

/** Hosts whose turns are kept; past it those whose turn is over are dropped. */
const MAX_HOSTS = 256;
/** A body is sent in parts that take at most this share of a second, so that it flows and does not jump. */
const PARTS_A_SECOND = 8;
const LEAST_PART = 1024;

/**
 * Spaces requests and bytes evenly: each takes its turn on a line of time, and waits for it. Turns are absolute, so that
 * timers that fire late do not add up. One object serves all connections of a process. It queues nothing itself: a caller
 * waits, and callers are bounded by the concurrency of the run.
 */
export class Throttle {
  readonly #limits: ThrottleLimits;
  readonly #clock: ThrottleClock;
  /** The moment at which the next request may leave, by host. */
  readonly #turns = new Map<string, number>();
  /** The moment at which the next byte may move. */
  #nextByte = Number.NEGATIVE_INFINITY;

  constructor(limits: ThrottleLimits, clock: ThrottleClock = CLOCK) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Number of hosts whose turns are kept. */
  get hosts(): number {
    return this.#turns.size;
  }

  /** Waits until a request to `host` may leave. */
  async request(host: string, signal?: AbortSignal): Promise<void> {
    const { requests } = this.#limits;
    if (requests === undefined) return;
    const now = this.#clock.now();
    const turn = Math.max(now, this.#turns.get(host) ?? now);
    if (this.#turns.size >= MAX_HOSTS) this.#forget(now);
    this.#turns.set(host, turn + 1000 / requests);
    await this.#until(turn, now, signal);
  }

  /** Waits until `bytes` may move. */
  async bytes(bytes: number, signal?: AbortSignal): Promise<void> {
    const limit = this.#limits.bytes;
    if (limit === undefined || bytes === 0) return;
    const now = this.#clock.now();
    const turn = Math.max(now, this.#nextByte);
    this.#nextByte = turn + (bytes * 1000) / limit;
    await this.#until(turn, now, signal);
  }

  /** A chunk in the parts in which it may be sent; the chunk itself without a bound. */
  *parts(chunk: Uint8Array): Generator<Uint8Array> {
    const limit = this.#limits.bytes;
    const size = limit === undefined ? chunk.length : Math.max(LEAST_PART, Math.floor(limit / PARTS_A_SECOND));
    if (chunk.length <= size) return yield chunk;
    for (let start = 0; start < chunk.length; start += size) yield chunk.subarray(start, start + size);
  }

  async #until(turn: number, now: number, signal: AbortSignal | undefined): Promise<void> {
    if (turn > now) await this.#clock.sleep(turn - now, signal);
  }

  #forget(now: number): void {
    for (const [host, turn] of this.#turns) if (turn <= now) this.#turns.delete(host);
  }
}
