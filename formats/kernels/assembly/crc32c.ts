/**
 * CRC-32C register update, sixteen bytes a step (docs/formats.md §1): raw, no inversion at either end.
 * Sixteen independent lookups a step hide the latency that a byte at a time would wait for.
 */

/** Sixteen tables of 256 words. */
export const CRC_TABLES: usize = 0x400;
const POLYNOMIAL: u32 = 0x82f63b78;
const SLICE: usize = 1024;

/** Fills the tables; must run once before {@link crc32c}. */
export function makeCrcTables(): void {
  for (let i: u32 = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & (0 - (crc & 1)));
    store<u32>(CRC_TABLES + (i << 2), crc);
  }
  for (let at = CRC_TABLES + SLICE; at < CRC_TABLES + 16 * SLICE; at += 4) {
    const below = load<u32>(at - SLICE);
    store<u32>(at, load<u32>(CRC_TABLES + ((below & 255) << 2)) ^ (below >>> 8));
  }
}

// @ts-ignore: decorator
@inline
/** Where in its table a byte of `word` is: shifted once, with the width of an entry. */
function entry(word: u32, shift: u32): usize {
  return (shift == 0 ? word << 2 : word >>> (shift - 2)) & 1020;
}

/** The register after the `length` bytes at `at`, started at `register`. */
export function crc32c(at: usize, length: usize, register: u32): u32 {
  let crc = register;
  const end = at + length;
  while (at + 16 <= end) {
    const a = crc ^ load<u32>(at);
    const b = load<u32>(at, 4);
    const c = load<u32>(at, 8);
    const d = load<u32>(at, 12);
    // The words that need no register are looked up and joined first, in a shallow tree.
    const free =
      ((load<u32>(entry(b, 0), CRC_TABLES + 11 * SLICE) ^ load<u32>(entry(b, 8), CRC_TABLES + 10 * SLICE)) ^
       (load<u32>(entry(b, 16), CRC_TABLES + 9 * SLICE) ^ load<u32>(entry(b, 24), CRC_TABLES + 8 * SLICE))) ^
      ((load<u32>(entry(c, 0), CRC_TABLES + 7 * SLICE) ^ load<u32>(entry(c, 8), CRC_TABLES + 6 * SLICE)) ^
       (load<u32>(entry(c, 16), CRC_TABLES + 5 * SLICE) ^ load<u32>(entry(c, 24), CRC_TABLES + 4 * SLICE))) ^
      ((load<u32>(entry(d, 0), CRC_TABLES + 3 * SLICE) ^ load<u32>(entry(d, 8), CRC_TABLES + 2 * SLICE)) ^
       (load<u32>(entry(d, 16), CRC_TABLES + 1 * SLICE) ^ load<u32>(entry(d, 24), CRC_TABLES + 0 * SLICE)));
    crc =
      ((load<u32>(entry(a, 0), CRC_TABLES + 15 * SLICE) ^ load<u32>(entry(a, 8), CRC_TABLES + 14 * SLICE)) ^
       (load<u32>(entry(a, 16), CRC_TABLES + 13 * SLICE) ^ load<u32>(entry(a, 24), CRC_TABLES + 12 * SLICE))) ^ free;
    at += 16;
  }
  while (at < end) {
    crc = load<u32>(((crc ^ load<u8>(at)) & 255) << 2, CRC_TABLES) ^ (crc >>> 8);
    at++;
  }
  return crc;
}
