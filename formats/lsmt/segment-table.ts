/**
 * Segments by the million, column by column in typed arrays: 22 bytes each, where an object each would take 100. The arrays
 * are pages of equal size: one that doubled would hold three times its rows while it grows, and leave holes behind.
 */
import { AccelError } from '../../base/error.ts';
import { orderOf } from '../bytes/radix-sort.ts';
import { type IndexEntry, SECTOR_SIZE } from './layout.ts';

/** One mapping of the device, in bytes. Ranges without a mapping read as zeros. */
export interface Segment {
  /** Byte of the device. */
  readonly offset: number;
  readonly length: number;
  /** Byte of the LSMT file (`tag` 0) or of the uncompressed source tar (`tag` 1); meaningless when `zeroed`. */
  readonly moffset: number;
  readonly zeroed: boolean;
  readonly tag: number;
}

/** Rows of a page. */
const PAGE_BITS = 12;
const PAGE_ROWS = 1 << PAGE_BITS;
const PAGE_MASK = PAGE_ROWS - 1;
const ZEROED = 0x100;
/** Values of a 32-bit word. */
const WORD = 2 ** 32;

/** The columns of some rows. */
class Page {
  readonly start: Float64Array;
  readonly length: Uint32Array;
  readonly moffset: Float64Array;
  readonly kind: Uint16Array;

  constructor(rows: number) {
    this.start = new Float64Array(rows);
    this.length = new Uint32Array(rows);
    this.moffset = new Float64Array(rows);
    this.kind = new Uint16Array(rows);
  }
}

const NO_ROWS = new Page(0);

/** A growing list of segments in sectors. Row `i` is what the `i`-th {@link SegmentTable.push} added. */
export class SegmentTable {
  #count = 0;
  readonly #pages: Page[] = [];
  readonly #limit: number;

  /** `limit`: rows past which {@link SegmentTable.push} throws `limit-exceeded`. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Rows so far. */
  get count(): number {
    return this.#count;
  }

  /** First sector on the device of row `i`. */
  start(i: number): number {
    return this.#pages[i >>> PAGE_BITS]!.start[i & PAGE_MASK]!;
  }
  /** Sectors of row `i`. */
  length(i: number): number {
    return this.#pages[i >>> PAGE_BITS]!.length[i & PAGE_MASK]!;
  }
  /** Sector behind row `i` on the device. */
  end(i: number): number {
    const page = this.#pages[i >>> PAGE_BITS]!;
    return page.start[i & PAGE_MASK]! + page.length[i & PAGE_MASK]!;
  }
  /** Sector that row `i` maps to. */
  moffset(i: number): number {
    return this.#pages[i >>> PAGE_BITS]!.moffset[i & PAGE_MASK]!;
  }
  /** Whether row `i` reads as zeros. */
  zeroed(i: number): boolean {
    return (this.#kind(i) & ZEROED) !== 0;
  }
  /** Tag of row `i`. */
  tag(i: number): number {
    return this.#kind(i) & 0xff;
  }

  /** Adds a row, all in sectors. */
  push(start: number, length: number, moffset: number, zeroed: boolean, tag: number): void {
    const page = this.#pages[this.#count >>> PAGE_BITS] ?? this.#grow();
    if (this.#count === this.#limit) throw this.#tooMany();
    const i = this.#count++ & PAGE_MASK;
    page.start[i] = start;
    page.length[i] = length;
    page.moffset[i] = moffset;
    page.kind[i] = tag | (zeroed ? ZEROED : 0);
  }

  /** Adds `length` sectors of row `i` of `source` from its `skip`-th on. */
  pushPart(source: SegmentTable, i: number, skip: number, length: number): void {
    const zeroed = source.zeroed(i);
    this.push(source.start(i) + skip, length, source.moffset(i) + (zeroed ? 0 : skip), zeroed, source.tag(i));
  }

  /**
   * Lengthens row `i` by `length` sectors if what is given continues it on the device and in its file (zeros need no
   * place in a file); false if it does not.
   */
  extend(i: number, start: number, length: number, moffset: number, zeroed: boolean, tag: number): boolean {
    if (this.end(i) !== start || this.tag(i) !== tag || this.zeroed(i) !== zeroed) return false;
    if (!zeroed && this.moffset(i) + this.length(i) !== moffset) return false;
    if (this.length(i) + length > 0xffff_ffff) return false;
    this.#pages[i >>> PAGE_BITS]!.length[i & PAGE_MASK]! += length;
    return true;
  }

  /** Lets go of the memory of whole pages below row `i`, none of which is looked at again. */
  forgetBelow(i: number): void {
    for (let page = (i >>> PAGE_BITS) - 1; page >= 0 && this.#pages[page] !== NO_ROWS; page--)
      this.#pages[page] = NO_ROWS;
  }

  /** Forgets every row and lets go of their memory. */
  drop(): void {
    this.#count = 0;
    this.#pages.length = 0;
  }

  /** Forgets every row and keeps the room. */
  clear(): void {
    this.#count = 0;
  }

  /** Row `i` as an index entry. */
  entry(i: number): IndexEntry {
    return {
      start: this.start(i),
      length: this.length(i),
      moffset: this.moffset(i),
      zeroed: this.zeroed(i),
      tag: this.tag(i),
    };
  }

  /** Row `i` in bytes; RangeError if there is no such row. */
  segment(i: number): Segment {
    if (!(i >= 0 && i < this.#count)) throw new RangeError(`no segment ${i} of ${this.#count}`);
    return {
      offset: this.start(i) * SECTOR_SIZE,
      length: this.length(i) * SECTOR_SIZE,
      moffset: this.moffset(i) * SECTOR_SIZE,
      zeroed: this.zeroed(i),
      tag: this.tag(i),
    };
  }

  /** The first row that ends after sector `sector`, in a table whose rows are in order; `count` if no row does. */
  find(sector: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.end(middle) <= sector) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Row numbers in the order of their addresses on the device; rows of one address keep their order. */
  order(): Uint32Array {
    const keys = new Uint32Array(this.#count);
    let isWide = false;
    for (let i = 0; i < keys.length; i++) {
      const start = this.start(i);
      keys[i] = start % WORD;
      isWide ||= start >= WORD;
    }
    const order = orderOf(keys);
    if (!isWide) return order;
    for (let i = 0; i < keys.length; i++) keys[i] = Math.floor(this.start(order[i]!) / WORD);
    return orderOf(keys).map((at) => order[at]!);
  }

  #kind(i: number): number {
    return this.#pages[i >>> PAGE_BITS]!.kind[i & PAGE_MASK]!;
  }

  #grow(): Page {
    if (this.#count >= this.#limit) throw this.#tooMany();
    const page = new Page(Math.min(PAGE_ROWS, this.#limit - this.#count));
    this.#pages.push(page);
    return page;
  }

  #tooMany(): AccelError {
    return new AccelError('limit-exceeded', 'too many segments', { expected: this.#limit, found: this.#limit + 1 });
  }
}
