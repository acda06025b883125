/** Sets of extended attributes, each stored once however many inodes have it, as one text until it is written. */
import { checkXattrs, type EncodedXattrs, encodeXattrs } from '../xattr.ts';
import type { MemoryBudget } from './memory-budget.ts';

/** Bytes that a set takes beside its text, about. */
const SET_OVERHEAD = 160;
/** Sets whose bytes on the device are kept: neighbours in an inode table often share one. */
const ENCODED_KEPT = 64;
/** Bytes of a length and the colon after it, at most: a PAX header ends after 1 MiB. */
const LENGTH_TEXT = 11;

const NOTHING: EncodedXattrs = { inline: undefined, block: undefined };

/** The sets of an image by number; 0 is the empty one. */
export class XattrSets {
  readonly #memory: MemoryBudget;
  readonly #numbers = new Map<string, number>();
  readonly #texts: (string | undefined)[] = [undefined];
  readonly #users: number[] = [0];
  readonly #free: number[] = [];
  readonly #encoded = new Map<number, EncodedXattrs>();
  /** The set that was added last: a directory may be named many times, each time with another attribute. */
  #last: { readonly xattrs: ReadonlyMap<string, Uint8Array>; readonly number: number } | undefined;

  constructor(memory: MemoryBudget) {
    this.#memory = memory;
  }

  /**
   * Counts one more user of a set, which does not change from then on, and answers its number. Throws what
   * {@link checkXattrs} throws for a set that cannot be stored, and `limit-exceeded` when memory runs out.
   */
  add(xattrs: ReadonlyMap<string, Uint8Array>): number {
    if (xattrs.size === 0) return 0;
    const number = this.#last?.xattrs === xattrs ? this.#last.number : this.#numberOf(xattrs);
    this.#last = { xattrs, number };
    this.#users[number]!++;
    return number;
  }

  /** Counts one user of a set less. */
  release(number: number): void {
    if (number === 0 || --this.#users[number]! > 0) return;
    const text = this.#texts[number]!;
    this.#numbers.delete(text);
    this.#texts[number] = undefined;
    this.#encoded.delete(number);
    this.#free.push(number);
    this.#memory.give(text.length + SET_OVERHEAD);
    if (this.#last?.number === number) this.#last = undefined;
  }

  /** The attributes of a set. */
  get(number: number): ReadonlyMap<string, Uint8Array> {
    if (number === 0) return new Map();
    return this.#last?.number === number ? this.#last.xattrs : parse(this.#texts[number]!);
  }

  /** A set as it is stored on the device. */
  encoded(number: number): EncodedXattrs {
    if (number === 0) return NOTHING;
    const known = this.#encoded.get(number);
    if (known !== undefined) return known;
    return this.#keep(number, encodeXattrs(this.get(number)));
  }

  #numberOf(xattrs: ReadonlyMap<string, Uint8Array>): number {
    const text = textOf(xattrs);
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    checkXattrs(xattrs);
    this.#memory.take(text.length + SET_OVERHEAD);
    const number = this.#free.pop() ?? this.#texts.length;
    this.#numbers.set(text, number);
    this.#texts[number] = text;
    this.#users[number] = 0;
    return number;
  }

  #keep(number: number, encoded: EncodedXattrs): EncodedXattrs {
    if (this.#encoded.size >= ENCODED_KEPT) this.#encoded.delete(this.#encoded.keys().next().value!);
    this.#encoded.set(number, encoded);
    return encoded;
  }
}

/** Names in order, each with the lengths of name and value in front. */
function textOf(xattrs: ReadonlyMap<string, Uint8Array>): string {
  let length = 0;
  for (const [name, value] of xattrs) length += 2 * LENGTH_TEXT + name.length + value.length;
  const text = Buffer.allocUnsafe(length);
  let at = 0;
  for (const name of [...xattrs.keys()].sort()) {
    const value = xattrs.get(name)!;
    at += text.write(`${name.length}:${value.length}:${name}`, at, 'latin1');
    text.set(value, at);
    at += value.length;
  }
  return text.toString('latin1', 0, at);
}

function parse(text: string): ReadonlyMap<string, Uint8Array> {
  const xattrs = new Map<string, Uint8Array>();
  for (let at = 0; at < text.length; ) {
    const first = text.indexOf(':', at);
    const second = text.indexOf(':', first + 1);
    const name = second + 1 + Number(text.slice(at, first));
    const end = name + Number(text.slice(first + 1, second));
    xattrs.set(text.slice(second + 1, name), Uint8Array.from(Buffer.from(text.slice(name, end), 'latin1')));
    at = end;
  }
  return xattrs;
}
