/** One piece of work for all who want its result at the same time. */
import { mostUrgent, STREAM, type Urgency } from '../urgency.ts';

interface Flight<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  /** The urgencies of those who wait, one each. */
  readonly waiters: Set<Urgency>;
}

/** For results that hold something. */
export interface Sharing<T> {
  /** The result for one of those who waited. */
  readonly share: (result: T) => T;
  /** All who waited have theirs. */
  readonly letGo: (result: T) => void;
}

/** Runs work once a key. The work is aborted when the last one who waits for it gives up. */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();
  readonly #sharing: Sharing<T> | undefined;

  /** Without `sharing` all who wait get the same result. */
  constructor(sharing?: Sharing<T>) {
    this.#sharing = sharing;
  }

  /** Keys with work under way. */
  get size(): number {
    return this.#flights.size;
  }

  /** Whether work for `key` is under way. */
  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /**
   * The result of the work under way for `key`, or of `work`, which is started. Rejects with the reason of `signal` when that
   * fires first; `work` has a signal of its own, which fires when nobody waits any more, and is as urgent as the most urgent of
   * those who wait.
   */
  async run(
    key: string,
    work: (signal: AbortSignal, urgency: Urgency) => Promise<T>,
    signal?: AbortSignal,
    urgency: Urgency = STREAM,
  ): Promise<T> {
    signal?.throwIfAborted();
    // An object of its own for each who waits, which looks at the level that was given.
    const mine: Urgency = {
      get level() {
        return urgency.level;
      },
    };
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      const waiters = new Set([mine]);
      const controller = new AbortController();
      const started: Flight<T> = {
        controller,
        waiters,
        result: work(controller.signal, mostUrgent(waiters)).finally(() => this.#land(key, started)),
      };
      // Those who wait hear of a failure; when all have left, nobody does.
      started.result.catch(() => undefined);
      this.#flights.set(key, started);
      flight = started;
    }
    const joined = flight;
    joined.waiters.add(mine);
    let leave: (() => void) | undefined;
    try {
      if (signal === undefined) return this.#share(await joined.result);
      const left = new Promise<never>((_, reject) => {
        leave = () => reject(signal.reason);
        signal.addEventListener('abort', leave, { once: true });
      });
      return this.#share(await Promise.race([joined.result, left]));
    } finally {
      if (leave !== undefined) signal?.removeEventListener('abort', leave);
      joined.waiters.delete(mine);
      if (joined.waiters.size === 0) {
        this.#land(key, joined);
        joined.controller.abort(signal?.reason);
        if (this.#sharing !== undefined) joined.result.then(this.#sharing.letGo).catch(() => undefined);
      }
    }
  }

  #share(result: T): T {
    return this.#sharing === undefined ? result : this.#sharing.share(result);
  }

  #land(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
