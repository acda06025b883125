/** Adler-32, the checksum of zlib streams (RFC 1950 §8.2). */

const MODULUS: u32 = 65521;
/** Bytes after which the sums are reduced: a multiple of 16 for which they fit into 32 bits. */
const STEP: usize = 4096;

/** Goes on with a checksum over `length` bytes; the first one is 1. */
export function adler32(from: usize, length: usize, before: u32): u32 {
  let low = before & 0xffff;
  let high = before >>> 16;
  const end = from + length;
  while (from < end) {
    const stepEnd = min(end, from + STEP);
    const bytes = (stepEnd - from) as u32;
    // Each byte counts in the upper sum as often as there are bytes from it to the end.
    high += low * bytes;
    let sums = i32x4.splat(0); // of bytes
    let before = i32x4.splat(0); // of the sums before each sixteen
    let within = i32x4.splat(0); // of bytes, by their place within sixteen
    const rest = bytes & 15;
    for (const whole = stepEnd - (rest as usize); from < whole; from += 16) {
      const sixteen = v128.load(from);
      before = i32x4.add(before, sums);
      sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(sixteen)));
      within = i32x4.add(within, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(sixteen), i16x8(16, 15, 14, 13, 12, 11, 10, 9)));
      within = i32x4.add(within, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(sixteen), i16x8(8, 7, 6, 5, 4, 3, 2, 1)));
    }
    const sum = total(sums);
    high += 16 * total(before) + total(within) + sum * rest;
    low += sum;
    for (let left = rest; left > 0; left--, from++) {
      const byte = load<u8>(from) as u32;
      low += byte;
      high += byte * left;
    }
    low %= MODULUS;
    high %= MODULUS;
  }
  return (high << 16) | low;
}

function total(lanes: v128): u32 {
  return (
    i32x4.extract_lane(lanes, 0) + i32x4.extract_lane(lanes, 1) + i32x4.extract_lane(lanes, 2) + i32x4.extract_lane(lanes, 3)
  );
}
