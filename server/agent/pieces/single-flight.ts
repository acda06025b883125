/** One piece of work for all who want its result at the same time. */

interface Flight<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  waiters: number;
}

/** Runs work once a key. The work is aborted when the last one who waits for it gives up. */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

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
   * fires first; `work` has a signal of its own, which fires when nobody waits any more.
   */
  async run(key: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      const controller = new AbortController();
      const started: Flight<T> = {
        controller,
        waiters: 0,
        result: work(controller.signal).finally(() => this.#land(key, started)),
      };
      // Those who wait hear of a failure; when all have left, nobody does.
      started.result.catch(() => undefined);
      this.#flights.set(key, started);
      flight = started;
    }
    const joined = flight;
    joined.waiters += 1;
    let leave: (() => void) | undefined;
    try {
      if (signal === undefined) return await joined.result;
      const left = new Promise<never>((_, reject) => {
        leave = () => reject(signal.reason);
        signal.addEventListener('abort', leave, { once: true });
      });
      return await Promise.race([joined.result, left]);
    } finally {
      if (leave !== undefined) signal?.removeEventListener('abort', leave);
      joined.waiters -= 1;
      if (joined.waiters === 0) {
        this.#land(key, joined);
        joined.controller.abort(signal?.reason);
      }
    }
  }

  #land(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
