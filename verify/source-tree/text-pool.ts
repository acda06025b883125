/** Short texts by the million: a few bytes each beside their characters, where a string of V8 takes 24 and its reference 8. */
import { AccelError } from '../../base/error.ts';

const PAGE_BITS = 20;
const PAGE_SIZE = 1 << PAGE_BITS;
/** Bytes of a length in front of its text. */
const LENGTH = 2;
/** The longest text: more than a path of Linux has. */
const LONGEST = 0xffff;
/** Pages that 32-bit references reach. */
const MAX_PAGES = 2 ** (32 - PAGE_BITS);

/** Texts in Latin-1, a byte for each character; what was added stays. */
export class TextPool {
  readonly #pages: Buffer[] = [];
  #used = PAGE_SIZE;

  /** Keeps a text of at most 65,535 characters and answers a reference to it. Throws `limit-exceeded` past 4 GiB. */
  add(text: string): number {
    const { length } = text;
    if (length > LONGEST) throw new AccelError('internal', 'a name is longer than a path', { found: length });
    if (this.#used + LENGTH + length > PAGE_SIZE) this.#grow();
    const page = this.#pages.at(-1)!;
    const at = this.#used;
    page.writeUInt16LE(length, at);
    for (let i = 0; i < length; i++) page[at + LENGTH + i] = text.charCodeAt(i);
    this.#used += LENGTH + length;
    return (this.#pages.length - 1) * PAGE_SIZE + at;
  }

  /** The text of a reference. */
  text(ref: number): string {
    const page = this.#pages[ref >>> PAGE_BITS]!;
    const at = ref & (PAGE_SIZE - 1);
    return page.toString('latin1', at + LENGTH, at + LENGTH + page.readUInt16LE(at));
  }

  /** Whether a reference is to this text. */
  equals(ref: number, text: string): boolean {
    const page = this.#pages[ref >>> PAGE_BITS]!;
    const at = ref & (PAGE_SIZE - 1);
    if (page.readUInt16LE(at) !== text.length) return false;
    for (let i = 0; i < text.length; i++) if (page[at + LENGTH + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  #grow(): void {
    if (this.#pages.length === MAX_PAGES)
      throw new AccelError('limit-exceeded', 'the names of the image need too much memory', {
        expected: 'at most 4 GiB',
      });
    this.#pages.push(Buffer.alloc(PAGE_SIZE));
    this.#used = 0;
  }
}
