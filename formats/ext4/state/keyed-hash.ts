/**
 * HalfSipHash-1-3 (Aumasson, Bernstein; the kernel's hsiphash): a hash with a key, so that whoever makes an image cannot
 * choose names that meet in one bucket.
 */

/** The key: two 32-bit words. */
export type HashKey = readonly [number, number];

/** The key of {@link keyedHash} unless the caller passes one. */
export const FIXED_KEY: HashKey = [0x3c6e_f372, 0x510e_527f];

let v0 = 0;
let v1 = 0;
let v2 = 0;
let v3 = 0;

/** Hashes a number together with a text (Latin-1, a byte for each character). An unsigned 32-bit integer. */
export function keyedHash([k0, k1]: HashKey, number: number, text: string): number {
  v0 = k0;
  v1 = k1;
  v2 = 0x6c79_6765 ^ k0;
  v3 = 0x7465_6462 ^ k1;
  absorb(number);
  const { length } = text;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    absorb(
      text.charCodeAt(at) |
        (text.charCodeAt(at + 1) << 8) |
        (text.charCodeAt(at + 2) << 16) |
        (text.charCodeAt(at + 3) << 24),
    );
  }
  let last = (length + 4) << 24;
  for (let shift = 0; at < length; at++, shift += 8) last |= text.charCodeAt(at) << shift;
  absorb(last);
  v2 ^= 0xff;
  round();
  round();
  round();
  return (v1 ^ v3) >>> 0;
}

function absorb(word: number): void {
  v3 ^= word;
  round();
  v0 ^= word;
}

function round(): void {
  v0 = (v0 + v1) | 0;
  v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
  v0 = (v0 << 16) | (v0 >>> 16);
  v2 = (v2 + v3) | 0;
  v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
  v0 = (v0 + v3) | 0;
  v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
  v2 = (v2 + v1) | 0;
  v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
  v2 = (v2 << 16) | (v2 >>> 16);
}
