/** The literals and matches of a block, and how often each symbol of theirs occurs (RFC 1951 §3.2.5). */

/** Literals as they are, matches as `1 << 31 | distance - 1 << 9 | length`, 32 bits each. */
export const TOKENS: usize = 0x40000;
/** Tokens that a block has at most. */
const MAX_TOKENS: usize = 0x4000;
const MATCH: u32 = 0x80000000;

/** Counts the uses of each literal and length: 286 words. */
export const LITERAL_COUNTS: usize = 0xe00;
/** Counts the uses of each distance symbol: 30 words. */
export const DISTANCE_COUNTS: usize = 0x1280;

/** The symbol that ends a block. */
export const END_OF_BLOCK: usize = 256;
/** Literals, the end of the block, lengths. */
export const LITERAL_SYMBOLS: usize = 286;
/** Symbols of distances. */
export const DISTANCE_SYMBOLS: usize = 30;

const LENGTH_SYMBOLS: usize = 0x400; // the symbol less 257 for each length up to 258, a byte each

/** Behind the last token. */
export let tokensEnd: usize = TOKENS;
/** Bits of the values that follow the symbols of the tokens. */
export let extraBits: u32 = 0;

for (let length: usize = 3, symbol: u32 = 0; symbol < 28; symbol++) {
  for (let left = 1 << lengthExtra(symbol); left > 0; left--) store<u8>(LENGTH_SYMBOLS + length++, symbol as u8);
}
store<u8>(LENGTH_SYMBOLS + 258, 28);

// @ts-ignore: decorator
@inline
/** Bits that follow a length's symbol, given less 257. */
export function lengthExtra(symbol: u32): u32 {
  return symbol < 8 || symbol == 28 ? 0 : (symbol - 4) >> 2;
}

// @ts-ignore: decorator
@inline
/** Bits that follow a distance's symbol. */
export function distanceExtra(symbol: u32): u32 {
  return symbol < 4 ? 0 : (symbol - 2) >> 1;
}

// @ts-ignore: decorator
@inline
/** The symbol, less 257, of a length. */
export function lengthSymbol(length: u32): u32 {
  return load<u8>(LENGTH_SYMBOLS + length);
}

// @ts-ignore: decorator
@inline
/** The symbol of a distance, given less 1: twice the number of its bits, and the bit after the first. */
export function distanceSymbol(distance: u32): u32 {
  if (distance < 2) return distance;
  const top = 31 - clz(distance);
  return (top << 1) + ((distance >> (top - 1)) & 1);
}

/** Begins a block without tokens. */
export function beginTokens(): void {
  memory.fill(LITERAL_COUNTS, 0, LITERAL_SYMBOLS << 2);
  memory.fill(DISTANCE_COUNTS, 0, DISTANCE_SYMBOLS << 2);
  tokensEnd = TOKENS;
  extraBits = 0;
  addOne(LITERAL_COUNTS, END_OF_BLOCK);
}

/** Whether the block has no room for one more token. */
export function isFull(): bool {
  return tokensEnd == TOKENS + (MAX_TOKENS << 2);
}

// @ts-ignore: decorator
@inline
/** Adds a byte as it is. */
export function addLiteral(byte: u32): void {
  store<u32>(tokensEnd, byte);
  tokensEnd += 4;
  addOne(LITERAL_COUNTS, byte);
}

/** Adds a match of 3 to 258 bytes from up to 32 KiB back. */
export function addMatch(length: usize, distance: usize): void {
  const back = (distance - 1) as u32;
  store<u32>(tokensEnd, MATCH | (back << 9) | (length as u32));
  tokensEnd += 4;
  const ofLength = lengthSymbol(length as u32);
  const ofDistance = distanceSymbol(back);
  addOne(LITERAL_COUNTS, END_OF_BLOCK + 1 + ofLength);
  addOne(DISTANCE_COUNTS, ofDistance);
  extraBits += lengthExtra(ofLength) + distanceExtra(ofDistance);
}

// @ts-ignore: decorator
@inline
function addOne(counts: usize, symbol: usize): void {
  store<u32>(counts + (symbol << 2), load<u32>(counts + (symbol << 2)) + 1);
}
