/** Choices of one fuzz case: the same for the same seed, on every machine. */
import { randomNumbers } from '../../fixtures/demo-content.ts';

/** A source of choices. */
export class FuzzRandom {
  /** Number of the case. */
  readonly number: number;
  readonly #next: () => number;

  /** `seed` and the number of the case decide everything. */
  constructor(seed: number, number: number) {
    this.number = number;
    // Two rounds of mixing: neighbouring cases must not begin alike.
    const mixed = Math.imul(seed ^ Math.imul(number + 1, 0x85ebca6b), 0xc2b2ae35) >>> 0;
    this.#next = randomNumbers(mixed ^ (mixed >>> 15));
  }

  /** 32 bits. */
  u32(): number {
    return this.#next();
  }

  /** A whole number from 0 to `limit` (exclusive); 0 for a limit of 0. */
  below(limit: number): number {
    return limit < 1 ? 0 : this.#next() % limit;
  }

  /** True in one of `n` cases. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}
