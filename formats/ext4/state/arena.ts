/** Small records by the million in a few large buffers: four bytes to refer to one, no object of the runtime for any. */
import { AccelError } from '../../../base/error.ts';
import type { MemoryBudget } from './memory-budget.ts';

/** A reference is a page number above this many bits of a word's position in the page. */
export const PAGE_BITS = 16;
const PAGE_WORDS = 1 << PAGE_BITS;
/** Takes the position in the page out of a reference. */
export const PAGE_MASK: number = PAGE_WORDS - 1;
const PAGE_BYTES = PAGE_WORDS * 4;
/** Largest record in words: the text of a symlink takes up to 4095 bytes. */
const MAX_WORDS = 1024;

/**
 * Allocates records of whole 32-bit words. A reference is the number of a record's first word; 0 refers to none, and no
 * reference is below 65,536: the first page does not exist.
 */
export class Arena {
  /** The words of each page: word `ref & PAGE_MASK` of page `ref >>> PAGE_BITS`. */
  readonly pages: Uint32Array[] = [new Uint32Array(0)];
  /** The same memory by bytes. */
  readonly bytes: Uint8Array[] = [new Uint8Array(0)];
  readonly #memory: MemoryBudget;
  /** The first free record of each size; the first word of a free record refers to the next. */
  readonly #free = new Uint32Array(MAX_WORDS + 1);
  /** First word that was never allocated. */
  #next = PAGE_WORDS;

  constructor(memory: MemoryBudget) {
    this.#memory = memory;
  }

  /** A record of `words` words (1 to 1024) with undefined content. Throws `limit-exceeded` when memory runs out. */
  allocate(words: number): number {
    const free = this.#free[words]!;
    if (free !== 0) {
      this.#free[words] = this.pages[free >>> PAGE_BITS]![free & PAGE_MASK]!;
      return free;
    }
    const left = PAGE_WORDS - (this.#next % PAGE_WORDS);
    if (left < words) this.#next += left;
    if (this.#next + words > this.pages.length * PAGE_WORDS) this.#addPage();
    const ref = this.#next;
    this.#next += words;
    return ref;
  }

  /** Ends the use of a record of `words` words; the next one of that size takes its place. */
  free(ref: number, words: number): void {
    this.pages[ref >>> PAGE_BITS]![ref & PAGE_MASK] = this.#free[words]!;
    this.#free[words] = ref;
  }

  #addPage(): void {
    // One reference past 32 bits would be another one's.
    if (this.pages.length === 2 ** (32 - PAGE_BITS))
      throw new AccelError('limit-exceeded', 'the metadata of the image outgrows 16 GiB of memory');
    this.#memory.take(PAGE_BYTES);
    const page = new Uint32Array(PAGE_WORDS);
    this.pages.push(page);
    this.bytes.push(new Uint8Array(page.buffer));
  }
}

/** Texts (Latin-1, a byte for each character) in an arena; the length is kept by whoever holds the reference. */
export class TextStore {
  readonly #arena: Arena;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Stores a text of 1 to 4095 bytes. */
  add(text: string): number {
    const ref = this.#arena.allocate((text.length + 3) >>> 2);
    const bytes = this.#arena.bytes[ref >>> PAGE_BITS]!;
    const start = (ref & PAGE_MASK) * 4;
    for (let i = 0; i < text.length; i++) bytes[start + i] = text.charCodeAt(i);
    return ref;
  }

  /** The bytes of a text: a view. */
  bytes(ref: number, length: number): Uint8Array {
    const start = (ref & PAGE_MASK) * 4;
    return this.#arena.bytes[ref >>> PAGE_BITS]!.subarray(start, start + length);
  }

  /** Ends the use of a text. */
  free(ref: number, length: number): void {
    this.#arena.free(ref, (length + 3) >>> 2);
  }
}
