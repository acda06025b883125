/**
 * HalfSipHash-1-3 (Aumasson, Bernstein; the kernel's hsiphash): a hash with a key, so that whoever makes an image cannot
 * choose names that meet in one bucket.
 */

/** The key: two 32-bit words. */
export type HashKey = readonly [number, number];

/** The key of {@link keyedHash} unless the caller passes one. */
export const FIXED_KEY: HashKey = [0x3c6e_f372, 0x510e_527f];

/** Hashes a number together with a text (Latin-1, a byte for each character). An unsigned 32-bit integer. */
export function keyedHash([k0, k1]: HashKey, number: number, text: string): number {
  // The round is written once, in a loop over the words: calls that share its state take three times as long.
  let v0 = k0;
  let v1 = k1;
  let v2 = 0x6c79_6765 ^ k0;
  let v3 = 0x7465_6462 ^ k1;
  const { length } = text;
  const whole = length & ~3;
  let word = number;
  // The number, the whole words of the text, the rest of it with the length, and three rounds more, which absorb nothing.
  for (let at = -4, rounds = (whole >> 2) + 5; rounds > 0; rounds--) {
    if (rounds <= 3) word = 0;
    v3 ^= word;
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
    v0 ^= word;
    if (rounds === 4) v2 ^= 0xff;
    at += 4;
    if (at < whole) {
      word =
        text.charCodeAt(at) |
        (text.charCodeAt(at + 1) << 8) |
        (text.charCodeAt(at + 2) << 16) |
        (text.charCodeAt(at + 3) << 24);
    } else if (at === whole) {
      word = (length + 4) << 24;
      for (let i = whole, shift = 0; i < length; i++, shift += 8) word |= text.charCodeAt(i) << shift;
    }
  }
  return (v1 ^ v3) >>> 0;
}
