/**
 * The plain-TypeScript twin of the deflate kernel: the bytes that it must make, written for the reader. Tests hold the kernel
 * against it; nothing else uses it.
 */
const MIN_MATCH = 3;
const MAX_MATCH = 258;
const WINDOW = 32_768;
const MAX_TOKENS = 0x4000;
const MAX_STORED = 65_535;
const END_OF_BLOCK = 256;
const NEAR = 512;
const WORTH = 4;
const GOOD_MATCH = 32;
const WORTHLESS = -100;

/** A literal, or a match. */
type Token = number | Match;

interface Match {
  readonly length: number;
  readonly distance: number;
}

/** Settings of {@link deflateTwin}. */
export interface TwinOptions {
  /** A bit for each byte that counts; omitted: all do. */
  readonly references?: Uint8Array | undefined;
  /** Whether the last block is that of the stream. */
  readonly isLast: boolean;
}

/** Deflates as the kernel does; `bytes` that do not count become what the blocks stand for. */
export function deflateTwin(bytes: Uint8Array, { references, isLast }: TwinOptions): Uint8Array {
  const bits: number[] = [];
  const search = new Search(bytes, references);
  let from = 0;
  do {
    const { tokens, end } = search.nextBlock(from);
    writeBlock(bits, { tokens, content: bytes.subarray(from, end), isLast: isLast && end === bytes.length });
    from = end;
  } while (from < bytes.length);
  if (!isLast) writeStored(bits, new Uint8Array(0), false);
  return packed(bits);
}

/** Chooses literals and matches. */
class Search {
  readonly #bytes: Uint8Array;
  readonly #references: Uint8Array | undefined;
  readonly #attempts: number;
  readonly #hashBits: number;
  /** Positions by hash, the last one last. */
  readonly #known = new Map<number, number[]>();
  #inserted = 0;

  constructor(bytes: Uint8Array, references: Uint8Array | undefined) {
    this.#bytes = bytes;
    this.#references = references;
    this.#attempts = references === undefined ? 32 : 8;
    this.#hashBits = bytes.length > WINDOW ? 15 : 13;
  }

  nextBlock(from: number): { readonly tokens: Token[]; readonly end: number } {
    const tokens: Token[] = [];
    let at = from;
    while (at < this.#bytes.length && tokens.length < MAX_TOKENS) {
      const token = this.#tokenAt(at);
      tokens.push(token);
      at += typeof token === 'number' ? 1 : token.length;
    }
    return { tokens, end: at };
  }

  #tokenAt(at: number): Token {
    const bytes = this.#bytes;
    const match = this.#find(at, WORTHLESS);
    if (match === undefined) {
      if (!this.#counts(at)) bytes[at] = at === 0 ? 0 : bytes[at - 1]!;
      return bytes[at]!;
    }
    if (match.length < GOOD_MATCH && this.#counts(at) && this.#find(at + 1, scoreOf(match)) !== undefined)
      return bytes[at]!;
    for (let i = at; i < at + match.length; i++) bytes[i] = bytes[i - match.distance]!;
    return match;
  }

  /** The best match at `at`, if one is better than `least`. */
  #find(at: number, least: number): Match | undefined {
    const { length: size } = this.#bytes;
    this.#insertUpTo(Math.min(at, size));
    let best: Match | undefined;
    const limit = Math.min(size, at + MAX_MATCH);
    const consider = (distance: number, needed: number): void => {
      const match = { length: this.#commonLength(at, distance, limit), distance };
      if (match.length < needed || (match.length === MIN_MATCH && distance > NEAR)) return;
      if (scoreOf(match) > (best === undefined ? least : scoreOf(best))) best = match;
    };
    let next = at;
    while (next < size && !this.#counts(next)) next++;
    let needed = MIN_MATCH;
    if (next > at) {
      if (at > 0) consider(1, MIN_MATCH);
      if (next >= limit) return best;
      needed = Math.min(limit - at, next - at + MIN_MATCH);
    }
    if (!this.#hasHash(next)) return best;
    const chain = this.#known.get(this.#hash(next)) ?? [];
    let later = next;
    for (const candidate of chain.toReversed().slice(0, this.#attempts)) {
      // The kernel keeps how far it is to the one before in 15 bits.
      const isLinked = later === next || later - candidate < WINDOW;
      if (!isLinked || next - candidate > Math.min(WINDOW, at)) break;
      later = candidate;
      if (this.#three(candidate) === this.#three(next)) consider(next - candidate, needed);
      if (best !== undefined && at + best.length === limit) break;
    }
    return best;
  }

  #commonLength(at: number, distance: number, limit: number): number {
    const seen: number[] = [];
    for (let to = at; to < limit; to++) {
      const byte = seen[to - at - distance] ?? this.#bytes[to - distance]!;
      if (this.#counts(to) && this.#bytes[to] !== byte) break;
      seen.push(byte);
    }
    return seen.length;
  }

  #insertUpTo(to: number): void {
    for (; this.#inserted < to; this.#inserted++) {
      if (!this.#hasHash(this.#inserted)) continue;
      const hash = this.#hash(this.#inserted);
      const chain = this.#known.get(hash);
      if (chain === undefined) this.#known.set(hash, [this.#inserted]);
      else chain.push(this.#inserted);
    }
  }

  #counts(at: number): boolean {
    if (at >= this.#bytes.length) return false;
    return this.#references === undefined || ((this.#references[at >> 3]! >> (at & 7)) & 1) === 1;
  }

  #hasHash(at: number): boolean {
    return this.#counts(at) && this.#counts(at + 1) && this.#counts(at + 2);
  }

  #three(at: number): number {
    return this.#bytes[at]! | (this.#bytes[at + 1]! << 8) | (this.#bytes[at + 2]! << 16);
  }

  #hash(at: number): number {
    return Math.imul(this.#three(at), 2_654_435_769) >>> (32 - this.#hashBits);
  }
}

function scoreOf({ length, distance }: Match): number {
  return WORTH * length - Math.floor(Math.log2(distance));
}

/** Code lengths of symbols that occur so often, none longer than `limit`. */
export function codeLengths(counts: readonly number[], limit: number): number[] {
  interface Node {
    readonly weight: number;
    readonly symbols: readonly number[];
  }
  const lengths = counts.map(() => 0);
  const leaves: Node[] = counts
    .map((weight, symbol) => ({ weight, symbols: [symbol] }))
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => a.weight - b.weight || a.symbols[0]! - b.symbols[0]!);
  const sorted = leaves.map(({ symbols }) => symbols[0]!);
  if (sorted.length === 1) lengths[sorted[0]!] = 1;
  const joined: Node[] = [];
  const lightest = (): Node =>
    joined[0] === undefined || (leaves[0]?.weight ?? Infinity) <= joined[0].weight ? leaves.shift()! : joined.shift()!;
  while (leaves.length + joined.length > 1) {
    const [a, b] = [lightest(), lightest()];
    const symbols = [...a.symbols, ...b.symbols];
    for (const symbol of symbols) lengths[symbol]!++;
    joined.push({ weight: a.weight + b.weight, symbols });
  }
  const cut = sorted.map((symbol) => Math.min(lengths[symbol]!, limit)).sort((a, b) => b - a);
  const used = (): number => cut.reduce((sum, length) => sum + 2 ** -length, 0);
  while (used() > 1) {
    // A leaf becomes a node above itself and one of the longest.
    const shorter = cut.findIndex((length) => length < limit);
    cut[shorter]!++;
    cut[0] = cut[shorter]!;
    cut.sort((a, b) => b - a);
  }
  sorted.forEach((symbol, i) => {
    lengths[symbol] = cut[i]!;
  });
  return lengths;
}

interface Block {
  readonly tokens: readonly Token[];
  readonly content: Uint8Array;
  readonly isLast: boolean;
}

/** Symbol and the bits that follow it, of a length less 3 or a distance less 1 in groups of `1 << order`. */
function symbolOf(value: number, order: number): readonly [symbol: number, extra: number] {
  const group = 1 << order;
  if (value < 2 * group) return [value, 0];
  const extra = Math.floor(Math.log2(value)) - order;
  return [extra * group + (value >> extra), extra];
}

function lengthOf({ length }: Match): readonly [symbol: number, extra: number] {
  const [symbol, extra] = length === MAX_MATCH ? [28, 0] : symbolOf(length - 3, 2);
  return [END_OF_BLOCK + 1 + symbol, extra];
}

function distanceOf({ distance }: Match): readonly [symbol: number, extra: number] {
  return symbolOf(distance - 1, 1);
}

const FIXED_LENGTHS = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));
const FIXED_DISTANCES = Array.from({ length: 30 }, () => 5);

function writeBlock(bits: number[], { tokens, content, isLast }: Block): void {
  const literals = Array.from({ length: 286 }, () => 0);
  const distances = Array.from({ length: 30 }, () => 0);
  literals[END_OF_BLOCK]!++;
  for (const token of tokens) {
    literals[typeof token === 'number' ? token : lengthOf(token)[0]]!++;
    if (typeof token !== 'number') distances[distanceOf(token)[0]]!++;
  }
  const lengths = [codeLengths(literals, 15), codeLengths(distances, 15)] as const;
  const form = (type: number, header: readonly number[], [ofLiterals, ofDistances]: readonly (readonly number[])[]) => {
    const made = [Number(isLast), type, 0, ...header];
    made[2] = type >> 1;
    made[1] = type & 1;
    const [literalCodes, distanceCodes] = [codesOf(ofLiterals!), codesOf(ofDistances!)];
    for (const token of [...tokens, END_OF_BLOCK]) {
      if (typeof token === 'number') made.push(...literalCodes[token]!);
      else {
        const [length, lengthExtra] = lengthOf(token);
        const [distance, distanceExtra] = distanceOf(token);
        made.push(...literalCodes[length]!, ...bitsOf(token.length - 3, lengthExtra));
        made.push(...distanceCodes[distance]!, ...bitsOf(token.distance - 1, distanceExtra));
      }
    }
    return made;
  };
  const fixed = form(1, [], [FIXED_LENGTHS, FIXED_DISTANCES]);
  const dynamic = form(2, headerOf(...lengths), lengths);
  const stored = bits.slice(bits.length & ~7);
  const before = stored.length;
  writeStored(stored, content, isLast);
  const coded = fixed.length <= dynamic.length ? fixed : dynamic;
  for (const bit of stored.length - before <= coded.length ? stored.slice(before) : coded) bits.push(bit);
}

function writeStored(bits: number[], content: Uint8Array, isLast: boolean): void {
  let from = 0;
  do {
    const part = content.subarray(from, from + MAX_STORED);
    from += part.length;
    bits.push(Number(isLast && from === content.length), 0, 0);
    while (bits.length % 8 !== 0) bits.push(0);
    for (const half of [part.length, part.length ^ 0xffff]) bits.push(...bitsOf(half, 16));
    for (const byte of part) bits.push(...bitsOf(byte, 8));
  } while (from < content.length);
}

/** The code lengths of a dynamic block as RFC 1951 §3.2.7 has them. */
function headerOf(literals: readonly number[], distances: readonly number[]): number[] {
  const literalCount = literals.findLastIndex((length) => length > 0) + 1;
  const distanceCount = Math.max(1, distances.findLastIndex((length) => length > 0) + 1);
  const list = runsOf([...literals.slice(0, literalCount), ...distances.slice(0, distanceCount)]);
  const counts = Array.from({ length: 19 }, (_, symbol) => list.filter((run) => run[0] === symbol).length);
  const lengths = codeLengths(counts, 7);
  const inOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15].map((symbol) => lengths[symbol]!);
  const precodeCount = Math.max(4, inOrder.findLastIndex((length) => length > 0) + 1);
  const codes = codesOf(lengths);
  return [
    ...bitsOf(literalCount - 257, 5),
    ...bitsOf(distanceCount - 1, 5),
    ...bitsOf(precodeCount - 4, 4),
    ...inOrder.slice(0, precodeCount).flatMap((length) => bitsOf(length, 3)),
    ...list.flatMap(([symbol, value, extra]) => [...codes[symbol]!, ...bitsOf(value, extra)]),
  ];
}

/** Runs of equal lengths as symbols of the precode, the numbers that follow them, and the bits of those. */
function runsOf(lengths: readonly number[]): (readonly [symbol: number, value: number, extra: number])[] {
  const runs: (readonly [number, number, number])[] = [];
  for (let at = 0; at < lengths.length; ) {
    const length = lengths[at]!;
    let left = lengths.slice(at).findIndex((other) => other !== length);
    if (left < 0) left = lengths.length - at;
    at += left;
    if (length > 0) runs.push([length, 0, 0]);
    if (length > 0) left--;
    while (left > 2 && (length > 0 || left <= 10)) {
      const more = length === 0 ? left : left === 7 ? 4 : Math.min(left, 6);
      runs.push(length === 0 ? [17, more - 3, 3] : [16, more - 3, 2]);
      left -= more;
    }
    while (left > 10) {
      runs.push([18, Math.min(left, 138) - 11, 7]);
      left -= Math.min(left, 138);
      if (left > 2 && left <= 10) {
        runs.push([17, left - 3, 3]);
        left = 0;
      }
    }
    for (; left > 0; left--) runs.push([length, 0, 0]);
  }
  return runs;
}

/** The code of each symbol, first bit first (RFC 1951 §3.2.2). */
function codesOf(lengths: readonly number[]): number[][] {
  const codes: number[][] = lengths.map(() => []);
  let next = 0;
  for (let length = 1; length <= 15; length++) {
    next *= 2;
    lengths.forEach((other, symbol) => {
      if (other === length) codes[symbol] = bitsOf(next++, length).reverse();
    });
  }
  return codes;
}

/** The lowest `count` bits of a number, the lowest first. */
function bitsOf(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (value >> i) & 1);
}

/** Bits in bytes, filled up with zeros. */
function packed(bits: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, i) => {
    bytes[i >> 3]! |= bit << (i & 7);
  });
  return bytes;
}
