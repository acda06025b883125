/**
 * The one hash of the peer network, 64 bits wide. Agents of every version must agree on it, so it is frozen: hash.test.ts
 * holds published vectors. MurmurHash3 (x86, 128 bits, seed 0), of which the first 64 bits are used, needs 32-bit
 * multiplications alone and is therefore fast without bigint.
 */

/** An unsigned 64-bit number as two unsigned 32-bit halves. */
export interface Hash64 {
  readonly hi: number;
  readonly lo: number;
}

/** Many 64-bit numbers, one column a half: what the loops over all members read and write. */
export interface HashColumns {
  readonly hi: Uint32Array;
  readonly lo: Uint32Array;
}

const C1 = 0x239b961b;
const C2 = 0xab0e9789;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93;
const BLOCK = 16;

const encoder = new TextEncoder();

/** The hash of a text's UTF-8 bytes. */
export function hashText(text: string): Hash64 {
  const bytes = encoder.encode(text);
  const blocks = Math.floor(bytes.length / BLOCK);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const state = new Int32Array(4);
  for (let block = 0; block < blocks; block++) {
    const at = block * BLOCK;
    mixBlock(state, [
      view.getInt32(at, true),
      view.getInt32(at + 4, true),
      view.getInt32(at + 8, true),
      view.getInt32(at + 12, true),
    ]);
  }
  // The rest of the last block, padded with zeros, enters the state without the closing rotation.
  const rest = new DataView(new ArrayBuffer(BLOCK));
  for (let at = blocks * BLOCK; at < bytes.length; at++) rest.setUint8(at - blocks * BLOCK, bytes[at]!);
  state[3]! ^= Math.imul(rotate(Math.imul(rest.getInt32(12, true), C4), 18), C1);
  state[2]! ^= Math.imul(rotate(Math.imul(rest.getInt32(8, true), C3), 17), C4);
  state[1]! ^= Math.imul(rotate(Math.imul(rest.getInt32(4, true), C2), 16), C3);
  state[0]! ^= Math.imul(rotate(Math.imul(rest.getInt32(0, true), C1), 15), C2);
  return finish(state, bytes.length);
}

/**
 * The hash of several parts, `h(a, b, c)`: parts are folded from the left, a text by its hash and a number (0 to 2⁵³)
 * as it is.
 */
export function hashParts(first: string | number, ...others: readonly (string | number)[]): Hash64 {
  let folded = asHash(first);
  for (const part of others) folded = combine(folded, asHash(part));
  return folded;
}

/** The hash of two 64-bit numbers: of the 16 bytes lo, hi of `left` and lo, hi of `right`, little-endian. */
export function combine(left: Hash64, right: Hash64): Hash64 {
  const state = new Int32Array(4);
  mixBlock(state, [left.lo | 0, left.hi | 0, right.lo | 0, right.hi | 0]);
  return finish(state, BLOCK);
}

/** {@link combine} of `left` with each number of `right`, written to `result`, which is as long. */
export function combineAll(left: Hash64, right: HashColumns, result: HashColumns): void {
  const k1 = Math.imul(rotate(Math.imul(left.lo, C1), 15), C2);
  const k2 = Math.imul(rotate(Math.imul(left.hi, C2), 16), C3);
  const length = right.hi.length;
  for (let index = 0; index < length; index++) {
    // mixBlock and finish with a zero state, written out: this loop runs once a member and piece.
    const k3 = Math.imul(rotate(Math.imul(right.lo[index]!, C3), 17), C4);
    const k4 = Math.imul(rotate(Math.imul(right.hi[index]!, C4), 18), C1);
    let h1 = (Math.imul(rotate(k1, 19), 5) + 0x561ccd1b) | 0;
    let h2 = (Math.imul(rotate(k2, 17), 5) + 0x0bcaa747) | 0;
    let h3 = (Math.imul(rotate(k3, 15), 5) + 0x96cd1c35) | 0;
    let h4 = (Math.imul((rotate(k4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0;
    h1 ^= BLOCK;
    h2 ^= BLOCK;
    h3 ^= BLOCK;
    h4 ^= BLOCK;
    h1 = (h1 + h2 + h3 + h4) | 0;
    h2 = finalMix((h2 + h1) | 0);
    h3 = finalMix((h3 + h1) | 0);
    h4 = finalMix((h4 + h1) | 0);
    h1 = finalMix(h1);
    h1 = (h1 + h2 + h3 + h4) | 0;
    result.lo[index] = h1;
    result.hi[index] = h2 + h1;
  }
}

/** Columns for `length` numbers, all zero. */
export function hashColumns(length: number): HashColumns {
  return { hi: new Uint32Array(length), lo: new Uint32Array(length) };
}

/** Negative, zero or positive as `left` is below, equal to or above `right`, both as unsigned numbers. */
export function compareHashes(left: Hash64, right: Hash64): number {
  return left.hi === right.hi ? left.lo - right.lo : left.hi - right.hi;
}

/** `(left − right) mod 2⁶⁴`. */
export function subtractHashes(left: Hash64, right: Hash64): Hash64 {
  const borrow = left.lo < right.lo ? 1 : 0;
  return { hi: (left.hi - right.hi - borrow) >>> 0, lo: (left.lo - right.lo) >>> 0 };
}

function asHash(part: string | number): Hash64 {
  if (typeof part === 'string') return hashText(part);
  return { hi: Math.floor(part / 2 ** 32) >>> 0, lo: part >>> 0 };
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function mixBlock(state: Int32Array, words: readonly [number, number, number, number]): void {
  let [h1, h2, h3, h4] = state as unknown as [number, number, number, number];
  h1 ^= Math.imul(rotate(Math.imul(words[0], C1), 15), C2);
  h1 = (Math.imul((rotate(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0;
  h2 ^= Math.imul(rotate(Math.imul(words[1], C2), 16), C3);
  h2 = (Math.imul((rotate(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0;
  h3 ^= Math.imul(rotate(Math.imul(words[2], C3), 17), C4);
  h3 = (Math.imul((rotate(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0;
  h4 ^= Math.imul(rotate(Math.imul(words[3], C4), 18), C1);
  h4 = (Math.imul((rotate(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0;
  state.set([h1, h2, h3, h4]);
}

function finish(state: Int32Array, length: number): Hash64 {
  let [h1, h2, h3, h4] = state as unknown as [number, number, number, number];
  h1 ^= length;
  h2 ^= length;
  h3 ^= length;
  h4 ^= length;
  h1 = (h1 + h2 + h3 + h4) | 0;
  h2 = finalMix((h2 + h1) | 0);
  h3 = finalMix((h3 + h1) | 0);
  h4 = finalMix((h4 + h1) | 0);
  h1 = finalMix(h1);
  h1 = (h1 + h2 + h3 + h4) | 0;
  return { hi: (h2 + h1) >>> 0, lo: h1 >>> 0 };
}

function finalMix(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
