/** A bound on the memory that the metadata of images takes, shared by whatever stores some of it. */
import { advise, option } from '../../../base/advice.ts';
import { AccelError } from '../../../base/error.ts';

const MIB = 2 ** 20;

/** Message of the error for a budget that does not hold what is asked for. */
export const BUDGET_EXCEEDED = 'the names and attributes of the image need more memory than allowed';

/** Counts bytes of metadata in memory and refuses to go past a limit. */
export class MemoryBudget {
  readonly #limit: number;
  readonly #whole: MemoryBudget | undefined;
  #used = 0;

  /** `limit` in bytes; without one nothing is refused. Memory that is taken also counts in `whole`. */
  constructor(limit = Number.POSITIVE_INFINITY, whole?: MemoryBudget) {
    this.#limit = limit;
    this.#whole = whole;
  }

  /** A budget for one user of this one, who returns all of it at once by {@link close}. */
  part(): MemoryBudget {
    return new MemoryBudget(this.#limit, this);
  }

  /** Returns everything that was taken. */
  close(): void {
    this.give(this.#used);
  }

  /** Bytes in use. */
  get used(): number {
    return this.#used;
  }

  /** Reserves `bytes` before they are allocated. Throws `limit-exceeded` when the budget does not hold them. */
  take(bytes: number): void {
    if (this.#used + bytes > this.#limit) {
      throw new AccelError('limit-exceeded', BUDGET_EXCEEDED, {
        expected: `at most ${Math.floor(this.#limit / MIB)} MiB (half of the memory limit)`,
        found: `more than ${Math.floor(this.#used / MIB)} MiB`,
        hint: advise`If the image is what you expect, raise ${option('maxMemory')}.`,
      });
    }
    this.#whole?.take(bytes);
    this.#used += bytes;
  }

  /** Returns bytes that {@link take} reserved. */
  give(bytes: number): void {
    this.#whole?.give(bytes);
    this.#used -= bytes;
  }
}
