/**
 * Huffman decoding tables of deflate (RFC 1951 §3.2.2). A table is looked up by the next bits of the stream; a code
 * longer than the table's bits goes on in a subtable after it.
 *
 * An entry, 32 bits:
 *   literal      bit 31 | byte << 16 | bits
 *   length       base << 16 | code bits << 8 | code bits + extra bits
 *   distance     the same
 *   exceptional  bit 7, and: bit 6 subtable (its place << 16, its bits << 8), bit 13 end of block, neither: no such code
 * The low six bits of an entry, and of the entry shifted by eight, are shift counts as they are.
 */

/** An entry is a literal byte. */
export const LITERAL: u32 = 0x80000000;
/** An entry is neither literal, length nor distance. */
export const EXCEPTIONAL: u32 = 0x80;
/** An exceptional entry goes on in a subtable. */
export const SUBTABLE: u32 = 0x40;
/** An exceptional entry ends the block. */
export const END_OF_BLOCK: u32 = 0x2000;

/** Literal/length codes: at most 2342 entries for 288 symbols. */
export const LITERAL_TABLE: usize = 0x1000;
/** Bits that look {@link LITERAL_TABLE} up. */
export const LITERAL_BITS: u32 = 11;
/** Distance codes: at most 402 entries for 32 symbols. */
export const DISTANCE_TABLE: usize = 0x4000;
/** Bits that look {@link DISTANCE_TABLE} up. */
export const DISTANCE_BITS: u32 = 8;
/** The code of the code lengths: 128 entries, no subtables. */
export const PRECODE_TABLE: usize = 0x4800;
/** Bits that look {@link PRECODE_TABLE} up. */
export const PRECODE_BITS: u32 = 7;
/** Code lengths, a byte each: literal/length symbols, then distance symbols. */
export const LENGTHS: usize = 0x5000;

const SORTED: usize = 0x5400; // symbols by code length, 16 bits each
const COUNTS: usize = 0x5800; // codes of each length, 32 bits each
const PLACES: usize = 0x5880; // next place in SORTED for each length, 32 bits each

/** The entries of the literal/length symbols before code lengths are added: 288 words, to 0x5d80. */
export const LITERAL_SYMBOLS: usize = 0x5900;
/** The same of distance symbols: 32 words, to 0x5e00. */
export const DISTANCE_SYMBOLS: usize = 0x5d80;
/** The same of the symbols of the precode: 19 words, to 0x5e4c. */
export const PRECODE_SYMBOLS: usize = 0x5e00;

const MAX_BITS: u32 = 15;

/** Fills the symbol entries; must run once. */
export function makeSymbols(): void {
  for (let symbol: u32 = 0; symbol < 256; symbol++) store<u32>(LITERAL_SYMBOLS + (symbol << 2), LITERAL | (symbol << 16));
  store<u32>(LITERAL_SYMBOLS + (256 << 2), EXCEPTIONAL | END_OF_BLOCK);
  let base: u32 = 3;
  for (let symbol: u32 = 257; symbol < 285; symbol++) {
    const extra: u32 = symbol < 265 ? 0 : (symbol - 261) >> 2;
    store<u32>(LITERAL_SYMBOLS + (symbol << 2), (base << 16) | extra);
    base += 1 << extra;
  }
  store<u32>(LITERAL_SYMBOLS + (285 << 2), 258 << 16);
  store<u32>(LITERAL_SYMBOLS + (286 << 2), EXCEPTIONAL);
  store<u32>(LITERAL_SYMBOLS + (287 << 2), EXCEPTIONAL);
  base = 1;
  for (let symbol: u32 = 0; symbol < 30; symbol++) {
    const extra: u32 = symbol < 4 ? 0 : (symbol - 2) >> 1;
    store<u32>(DISTANCE_SYMBOLS + (symbol << 2), (base << 16) | extra);
    base += 1 << extra;
  }
  store<u32>(DISTANCE_SYMBOLS + (30 << 2), EXCEPTIONAL);
  store<u32>(DISTANCE_SYMBOLS + (31 << 2), EXCEPTIONAL);
  for (let symbol: u32 = 0; symbol < 19; symbol++) store<u32>(PRECODE_SYMBOLS + (symbol << 2), symbol << 16);
}

/**
 * Builds `table` of 2^`tableBits` entries and its subtables for the code whose lengths are the `count` bytes at
 * `lengths`. False for what zlib refuses: an over-subscribed code, and an incomplete one, unless `lone` allows a code of
 * a single one-bit symbol or of none (RFC 1951 §3.2.7 knows both, for distances).
 */
export function buildTable(table: usize, tableBits: u32, lengths: usize, count: u32, symbols: usize, lone: bool): bool {
  for (let at: usize = 0; at < (MAX_BITS + 1) << 2; at += 16) v128.store(COUNTS + at, i32x4.splat(0));
  for (let symbol: u32 = 0; symbol < count; symbol++) {
    const at = COUNTS + ((load<u8>(lengths + symbol) as usize) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  let longest: u32 = MAX_BITS;
  while (longest > 0 && load<u32>(COUNTS + (longest << 2)) == 0) longest--;

  let left: i32 = 1; // codes of this length not yet given away
  const unused = load<u32>(COUNTS); // symbols without a code are sorted to the front
  let place: u32 = unused;
  store<u32>(PLACES, 0);
  for (let bits: u32 = 1; bits <= MAX_BITS; bits++) {
    const codes = load<u32>(COUNTS + (bits << 2));
    store<u32>(PLACES + (bits << 2), place);
    place += codes;
    left = (left << 1) - (codes as i32);
    if (left < 0) return false;
  }
  for (let symbol: u32 = 0; symbol < count; symbol++) {
    const at = PLACES + ((load<u8>(lengths + symbol) as usize) << 2);
    const to = load<u32>(at);
    store<u32>(at, to + 1);
    store<u16>(SORTED + (to << 1), symbol as u16);
  }
  if (left > 0) {
    if (!lone || longest > 1) return false;
    fillLone(table, tableBits, symbols, unused, longest);
    return true;
  }

  let code: u32 = 0; // bit-reversed, as it comes from the stream
  let next = unused; // place in SORTED
  const direct = min(longest, tableBits);
  store<u32>(table, EXCEPTIONAL);
  for (let bits: u32 = 1; bits <= direct; bits++) {
    // The entries of the shorter codes are the same for both values of the added bit.
    double(table, bits - 1);
    for (let codes = load<u32>(COUNTS + (bits << 2)); codes > 0; codes--) {
      store<u32>(table + (code << 2), entryOf(symbols, next++, bits));
      code = nextCode(code, bits);
    }
  }
  for (let bits = direct; bits < tableBits; bits++) double(table, bits);
  if (longest > tableBits) fillSubtables(table, tableBits, symbols, code, next, longest);
  return true;
}

/** A code of one symbol with one bit, or of none: every other bit pattern is no code. */
function fillLone(table: usize, tableBits: u32, symbols: usize, place: u32, longest: u32): void {
  const even = longest == 1 ? entryOf(symbols, place, 1) : EXCEPTIONAL;
  for (let index: u32 = 0; index < 1 << tableBits; index += 2) {
    store<u32>(table + (index << 2), even);
    store<u32>(table + (index << 2), EXCEPTIONAL, 4);
  }
}

function fillSubtables(table: usize, tableBits: u32, symbols: usize, code: u32, next: u32, longest: u32): void {
  const mask: u32 = (1 << tableBits) - 1;
  let subtable: u32 = 0;
  let subtableBits: u32 = 0;
  let free: u32 = 1 << tableBits; // first entry behind what is in use
  let prefix: u32 = 0xffffffff;
  for (let bits = tableBits + 1; bits <= longest; bits++) {
    for (let codes = load<u32>(COUNTS + (bits << 2)); codes > 0; codes--) {
      if ((code & mask) != prefix) {
        prefix = code & mask;
        subtable = free;
        subtableBits = bits - tableBits;
        // As wide as the codes that share this prefix: they fill it exactly, because the code is complete.
        let left: i32 = (1 << subtableBits) - (codes as i32);
        while (left > 0) {
          subtableBits++;
          left = (left << 1) - (load<u32>(COUNTS + ((tableBits + subtableBits) << 2)) as i32);
        }
        free += 1 << subtableBits;
        store<u32>(table + (prefix << 2), EXCEPTIONAL | SUBTABLE | (subtable << 16) | (subtableBits << 8) | tableBits);
      }
      const entry = entryOf(symbols, next++, bits - tableBits);
      for (let index = code >>> tableBits; index < 1 << subtableBits; index += 1 << (bits - tableBits)) {
        store<u32>(table + ((subtable + index) << 2), entry);
      }
      code = nextCode(code, bits);
    }
  }
}

// @ts-ignore: decorator
@inline
function entryOf(symbols: usize, place: u32, bits: u32): u32 {
  return load<u32>(symbols + ((load<u16>(SORTED + (place << 1)) as usize) << 2)) + (bits << 8) + bits;
}

/** The code after `code` among those of `bits` bits, both bit-reversed; after the last comes nothing. */
// @ts-ignore: decorator
@inline
function nextCode(code: u32, bits: u32): u32 {
  const zeros = code ^ ((1 << bits) - 1);
  const bit = zeros == 0 ? 0 : 0x80000000 >>> clz(zeros);
  return (code & (bit - 1)) + bit;
}

/** Repeats the first 2^`bits` entries of a table, right after them; may write three more. */
// @ts-ignore: decorator
@inline
function double(table: usize, bits: u32): void {
  const size: usize = 4 << bits;
  for (let at: usize = 0; at < size; at += 16) v128.store(table + size + at, v128.load(table + at));
}
