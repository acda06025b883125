/**
 * The plain-TypeScript twin of the inflate kernel: RFC 1951 read aloud, a bit at a time, everything kept in memory.
 * It decodes nothing before the input is complete. Tests hold the kernel against it; nothing else uses it.
 */
import {
  type INFLATE_FAULTS,
  type InflateMachine,
  type InflateStart,
  type InflateStop,
  inflateError,
  OUTPUT_BYTES,
  WINDOW_BYTES,
} from '../inflate-machine.ts';

const PRECODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const MAX_BITS = 15;

/** Codes of each length, and the symbols in the order of their codes. */
interface Code {
  readonly counts: readonly number[];
  readonly symbols: readonly number[];
}

const FIXED_LITERALS = codeOf(
  Array.from({ length: 288 }, (_, symbol) => (symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8)),
);
const FIXED_DISTANCES = codeOf(new Array<number>(32).fill(5));

/** The plain {@link InflateMachine}. */
export class InflaterTwin implements InflateMachine {
  #input = new Uint8Array(0);
  #inputAt = 0;
  #bits = 0;
  #bitCount = 0;
  /** Output behind {@link WINDOW_BYTES} of history: zeros, or the window that a stream was resumed with. */
  #output = new Uint8Array(2 * WINDOW_BYTES);
  #made = 0;
  #released = 0;
  /** Output offset that no match reaches below. */
  #reach = 0;
  /** By slot. */
  readonly #watches = new Map<number, { readonly at: number; readonly log: Uint8Array }>();
  #atBlocks = false;
  #work: Generator<InflateStop, void> | undefined;

  get inputOffset(): number {
    return this.#inputAt;
  }

  get spareBits(): number {
    return this.#bitCount;
  }

  get outputOffset(): number {
    return this.#made;
  }

  get unread(): Uint8Array {
    return this.#input.subarray(this.#inputAt);
  }

  write(chunk: Uint8Array, from = 0): number {
    this.#input = Buffer.concat([this.#input, chunk.subarray(from)]);
    return chunk.length - from;
  }

  skip(count: number): void {
    this.#inputAt += count;
  }

  begin(atBlocks: boolean): void {
    this.#atBlocks = atBlocks;
    this.#bitCount = 0;
    this.#reach = this.#made;
    this.#watches.clear();
    this.#work = this.#blocks();
  }

  resume(start: InflateStart): void {
    this.#input = new Uint8Array(0);
    this.#inputAt = 0;
    this.#made = 0;
    this.#released = 0;
    this.begin(false);
    this.#output.set(start.window);
    this.#reach = -WINDOW_BYTES;
    this.#bitCount = start.bits;
    this.#bits = start.byte >>> (8 - start.bits);
  }

  run(final: boolean): InflateStop {
    if (!final) return 'input';
    const step = this.#work?.next();
    return step?.value ?? 'end';
  }

  output(from: number): Uint8Array {
    return this.#output.subarray(from + WINDOW_BYTES, this.#made + WINDOW_BYTES);
  }

  release(): void {
    this.#released = this.#made;
  }

  window(at: number): Uint8Array {
    return this.#output.slice(at, at + WINDOW_BYTES);
  }

  watch(slot: number): void {
    this.#watches.set(slot, { at: this.#made, log: new Uint8Array(WINDOW_BYTES / 8) });
  }

  references(slot: number): Uint8Array {
    return this.#watches.get(slot)!.log;
  }

  *#blocks(): Generator<InflateStop, void> {
    for (;;) {
      const last = this.#take(1) === 1;
      const type = this.#take(2);
      if (type === 0) yield* this.#stored();
      else if (type === 1) yield* this.#symbols(FIXED_LITERALS, FIXED_DISTANCES);
      else if (type === 2) yield* this.#dynamic();
      else throw this.#error('blockType');
      if (last) return;
      if (this.#atBlocks) yield 'boundary';
    }
  }

  *#stored(): Generator<InflateStop, void> {
    this.#bitCount = 0;
    const length = this.#take(16);
    if (this.#take(16) !== (length ^ 0xffff)) throw this.#error('storedLength');
    for (let i = 0; i < length; i++) yield* this.#put(this.#take(8));
  }

  *#dynamic(): Generator<InflateStop, void> {
    const literals = this.#take(5) + 257;
    const distances = this.#take(5) + 1;
    const precodes = this.#take(4) + 4;
    if (literals > 286 || distances > 30) throw this.#error('symbolCount');
    const precodeLengths = new Array<number>(19).fill(0);
    for (const symbol of PRECODE_ORDER.slice(0, precodes)) precodeLengths[symbol] = this.#take(3);
    const precode = codeOf(precodeLengths);
    if (precode === undefined || !isComplete(precode)) throw this.#error('precode');

    const lengths: number[] = [];
    while (lengths.length < literals + distances) {
      const symbol = this.#decode(precode, 'precode');
      if (symbol < 16) {
        lengths.push(symbol);
        continue;
      }
      const value = symbol === 16 ? lengths.at(-1) : 0;
      if (value === undefined) throw this.#error('repeat');
      const repeat = symbol === 16 ? 3 + this.#take(2) : symbol === 17 ? 3 + this.#take(3) : 11 + this.#take(7);
      for (let i = 0; i < repeat; i++) lengths.push(value);
      if (lengths.length > literals + distances) throw this.#error('repeat');
    }
    if (lengths[256] === 0) throw this.#error('endOfBlock');
    const literalCode = codeOf(lengths.slice(0, literals));
    if (!isUsable(literalCode)) throw this.#error('literalCode');
    const distanceCode = codeOf(lengths.slice(literals));
    if (!isUsable(distanceCode)) throw this.#error('distanceCode');
    yield* this.#symbols(literalCode, distanceCode);
  }

  *#symbols(literals: Code | undefined, distances: Code | undefined): Generator<InflateStop, void> {
    for (;;) {
      const symbol = this.#decode(literals!, 'lengthSymbol');
      if (symbol === 256) return;
      if (symbol < 256) {
        yield* this.#put(symbol);
        continue;
      }
      if (symbol > 285) throw this.#error('lengthSymbol');
      const length = symbol === 285 ? 258 : 3 + this.#scaled(symbol - 257, 4);
      const distanceSymbol = this.#decode(distances!, 'distanceSymbol');
      if (distanceSymbol > 29) throw this.#error('distanceSymbol');
      const distance = 1 + this.#scaled(distanceSymbol, 2);
      const match = this.#made - distance;
      if (match < this.#reach) throw this.#error('tooFarBack');
      for (let i = 0; i < length; i++) {
        this.#log(match + i);
        yield* this.#put(this.#output[match + i + WINDOW_BYTES]!);
      }
    }
  }

  /** RFC 1951 §3.2.5 without its tables: `steps` symbols for each power of two, the extra bits between them. */
  #scaled(symbol: number, steps: number): number {
    if (symbol < 2 * steps) return symbol;
    const extra = Math.floor(symbol / steps) - 1;
    return (steps + (symbol % steps)) * 2 ** extra + this.#take(extra);
  }

  *#put(byte: number): Generator<InflateStop, void> {
    const at = this.#made + WINDOW_BYTES;
    if (at === this.#output.length) {
      const grown = new Uint8Array(at * 2);
      grown.set(this.#output);
      this.#output = grown;
    }
    this.#output[at] = byte;
    this.#made++;
    if (this.#made - this.#released === OUTPUT_BYTES) yield 'output';
  }

  #log(offset: number): void {
    for (const watch of this.#watches.values()) {
      const place = offset - watch.at + WINDOW_BYTES;
      if (place >= 0 && place < WINDOW_BYTES) watch.log[place >> 3]! |= 1 << (place & 7);
    }
  }

  #take(count: number): number {
    let value = 0;
    for (let i = 0; i < count; i++) {
      if (this.#bitCount === 0) {
        const byte = this.#input[this.#inputAt];
        if (byte === undefined) throw this.#error('truncated');
        this.#inputAt++;
        this.#bits = byte;
        this.#bitCount = 8;
      }
      value |= (this.#bits & 1) << i;
      this.#bits >>>= 1;
      this.#bitCount--;
    }
    return value;
  }

  #decode(code: Code, fault: keyof typeof INFLATE_FAULTS): number {
    let value = 0;
    let first = 0;
    let place = 0;
    for (let bits = 1; bits <= MAX_BITS; bits++) {
      value = (value << 1) | this.#take(1);
      first <<= 1;
      const count = code.counts[bits]!;
      if (value - first < count) return code.symbols[place + value - first]!;
      place += count;
      first += count;
    }
    throw this.#error(fault);
  }

  #error(fault: keyof typeof INFLATE_FAULTS): Error {
    return inflateError(fault, this.#inputAt);
  }
}

/** The canonical code of these lengths; undefined if over-subscribed. */
function codeOf(lengths: readonly number[]): Code | undefined {
  const counts = new Array<number>(MAX_BITS + 1).fill(0);
  for (const length of lengths) if (length > 0) counts[length]!++;
  if (left(counts) < 0) return undefined;
  const symbols = lengths.map((_, symbol) => symbol).filter((symbol) => lengths[symbol]! > 0);
  symbols.sort((a, b) => lengths[a]! - lengths[b]! || a - b);
  return { counts, symbols };
}

/** 15-bit codes that no symbol uses; negative if some are used twice. */
function left(counts: readonly number[]): number {
  return counts.reduce((rest, count, bits) => rest - count * 2 ** (MAX_BITS - bits), 2 ** MAX_BITS);
}

function isComplete(code: Code): boolean {
  return left(code.counts) === 0;
}

/** zlib takes an incomplete code only if it has at most one symbol, of one bit. */
function isUsable(code: Code | undefined): code is Code {
  if (code === undefined) return false;
  return isComplete(code) || code.counts.every((count, bits) => bits < 2 || count === 0);
}
