/** A bound on the memory that the metadata of images takes, shared by whatever stores some of it. */
import { advise, option } from '../../../base/advice.ts';
import { AccelError } from '../../../base/error.ts';

const MIB = 2 ** 20;

/** Counts bytes of metadata in memory and refuses to go past a limit. */
export class MemoryBudget {
  readonly #limit: number;
  #used = 0;

  /** `limit` in bytes; without one nothing is refused. */
  constructor(limit = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
  }

  /** Bytes in use. */
  get used(): number {
    return this.#used;
  }

  /** Reserves `bytes` before they are allocated. Throws `limit-exceeded` when the budget does not hold them. */
  take(bytes: number): void {
    if (this.#used + bytes > this.#limit) {
      throw new AccelError('limit-exceeded', 'the names and attributes of the image need more memory than allowed', {
        expected: `at most ${Math.floor(this.#limit / MIB)} MiB of metadata, half of the memory limit`,
        found: `more than ${Math.floor(this.#used / MIB)} MiB`,
        hint: advise`If the image is what you expect, raise ${option('maxMemory')}.`,
      });
    }
    this.#used += bytes;
  }

  /** Returns bytes that {@link take} reserved. */
  give(bytes: number): void {
    this.#used -= bytes;
  }
}
