/** Sets of inode numbers and the like: a bit for each number, in pages that exist where a bit was set. */

const PAGE_WORDS = 1024;
const PAGE_NUMBERS = PAGE_WORDS * 32;

/** A set of integers from 0 to 2^32 that iterates in ascending order. Adding and deleting while iterating is allowed. */
export class NumberSet {
  readonly #pages = new Map<number, Uint32Array>();
  /** The page that was added to last, and its number: numbers come mostly in order. */
  #number = -1;
  #page: Uint32Array = new Uint32Array(0);

  /** Adds a number. */
  add(value: number): void {
    const number = Math.floor(value / PAGE_NUMBERS);
    const page = number === this.#number ? this.#page : this.#enter(number);
    const bit = value % PAGE_NUMBERS;
    page[bit >>> 5] = page[bit >>> 5]! | (1 << (bit & 31));
  }

  /** Takes a number out. */
  delete(value: number): void {
    const page = this.#pages.get(Math.floor(value / PAGE_NUMBERS));
    if (page === undefined) return;
    const bit = value % PAGE_NUMBERS;
    page[bit >>> 5] = page[bit >>> 5]! & ~(1 << (bit & 31));
  }

  /** Whether a number is in the set. */
  has(value: number): boolean {
    const page = this.#pages.get(Math.floor(value / PAGE_NUMBERS));
    const bit = value % PAGE_NUMBERS;
    return page !== undefined && (page[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  /** Takes all numbers out. */
  clear(): void {
    this.#pages.clear();
    this.#number = -1;
  }

  /** The numbers, ascending. */
  *[Symbol.iterator](): Generator<number> {
    for (const number of [...this.#pages.keys()].sort((a, b) => a - b)) {
      const page = this.#pages.get(number);
      for (let word = 0; page !== undefined && word < PAGE_WORDS; word++) {
        // Read again for each bit: the caller may have changed it.
        for (let bit = 0; bit < 32 && page[word]! >>> bit !== 0; bit++) {
          if ((page[word]! & (1 << bit)) !== 0) yield number * PAGE_NUMBERS + word * 32 + bit;
        }
      }
    }
  }

  #enter(number: number): Uint32Array {
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = new Uint32Array(PAGE_WORDS);
      this.#pages.set(number, page);
    }
    this.#number = number;
    this.#page = page;
    return page;
  }
}
