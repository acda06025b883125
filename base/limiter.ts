/** Running tasks side by side: bounded, and to the end. */

/** A gate for at most `limit` tasks; the others wait their turn in order. */
export class Limiter {
  readonly #limit: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = Math.max(1, limit);
  }

  /** Runs `task` when there is room and passes on what it returns or throws. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      // The place goes straight to the next in line, so that nobody slips in between.
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

/**
 * What all of `running` resolve to, in their order. If any fails, the others are waited for, so that nothing goes on behind
 * the caller's back, and the first in order that failed is thrown.
 */
export async function awaitAll<T extends readonly unknown[] | []>(
  running: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(running);
  return Promise.all(running);
}
