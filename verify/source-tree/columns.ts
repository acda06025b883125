/** Numbers by row, for the millions: pages of typed arrays. */

/**
 * A page has 2 ** PAGE_BITS rows. It is so large that the allocator gives it memory of its own: small ones between the short-lived buffers
 * of a walk keep those from being given back.
 */
const PAGE_BITS = 15;

type Column = Float64Array | Uint32Array | Uint16Array;

/** A column of numbers in pages that exist where a number other than 0 was set: owners and attributes are mostly 0. */
export class NumberColumn {
  readonly #pages: (Column | undefined)[] = [];
  readonly #type: new (
    rows: number,
  ) => Column;
  readonly #bits: number;

  /** `bits`: a page has 2 ** bits rows; fewer than usual where few rows of many have a number. */
  constructor(type: new (rows: number) => Column, bits = PAGE_BITS) {
    this.#type = type;
    this.#bits = bits;
  }

  /** The number of a row, 0 where none was set. */
  get(row: number): number {
    return this.#pages[row >>> this.#bits]?.[row & ((1 << this.#bits) - 1)] ?? 0;
  }

  /** Sets the number of a row. */
  set(row: number, value: number): void {
    const number = row >>> this.#bits;
    const at = row & ((1 << this.#bits) - 1);
    while (this.#pages.length <= number) this.#pages.push(undefined);
    const page = this.#pages[number];
    if (page !== undefined) page[at] = value;
    else if (value !== 0) {
      const made = new this.#type(1 << this.#bits);
      made[at] = value;
      this.#pages[number] = made;
    }
  }
}

/** Numbers of a page of a {@link NumberMap}: those of inodes on a damaged device may lie anywhere. */
const SPARSE_ROWS = 1 << 12;

/** A map from numbers (of inodes of a device, of nodes) to numbers other than 0, in pages that exist where one was set. */
export class NumberMap {
  readonly #pages = new Map<number, Uint32Array>();

  /** The number of a key, 0 if it has none. */
  get(key: number): number {
    return this.#pages.get(Math.floor(key / SPARSE_ROWS))?.[key % SPARSE_ROWS] ?? 0;
  }

  /** Sets the number of a key. */
  set(key: number, value: number): void {
    const number = Math.floor(key / SPARSE_ROWS);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = new Uint32Array(SPARSE_ROWS);
      this.#pages.set(number, page);
    }
    page[key % SPARSE_ROWS] = value;
  }
}
