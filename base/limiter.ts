/** Runs tasks concurrently, with a bound, and waits for all of them. */

/** Runs at most `limit` tasks at a time; further tasks wait in order. */
export class Limiter {
  readonly #limit: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = Math.max(1, limit);
  }

  /** Runs `task` as soon as there is room, and returns or throws what it does. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      // The slot goes directly to the next waiting task, so that no other task takes it.
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

/**
 * Waits for all of `running` and returns their results in order. If some fail, waits for the others too, so that
 * nothing runs after the call, and throws the first failure in order.
 */
export async function awaitAll<T extends readonly unknown[] | []>(
  running: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(running);
  return Promise.all(running);
}
