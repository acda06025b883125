/** Writing blocks of deflate (RFC 1951 §3.2.3), in whichever form is the smallest. */
import { makeCodes, makeLengths, setWord, word } from './deflate-codes.ts';
import {
  DISTANCE_COUNTS,
  DISTANCE_SYMBOLS,
  distanceExtra,
  distanceSymbol,
  END_OF_BLOCK,
  extraBits,
  LITERAL_COUNTS,
  LITERAL_SYMBOLS,
  lengthExtra,
  lengthSymbol,
  TOKENS,
  tokensEnd,
} from './deflate-tokens.ts';

const LITERAL_CODES: usize = 0x800; // 288 words
const DISTANCE_CODES: usize = 0xc80; // 30 words
const PRECODE_CODES: usize = 0xd00; // 19 words
const PRECODE_COUNTS: usize = 0x1300; // 19 words
const ORDER: usize = 0x1350; // symbols of the precode in the order of their lengths in a block
const LITERAL_LENGTHS: usize = 0x1400; // 288 bytes
const DISTANCE_LENGTHS: usize = 0x1520; // 30 bytes
const PRECODE_LENGTHS: usize = 0x1540; // 19 bytes
const BOTH_LENGTHS: usize = 0x1560; // the lengths of literals and distances that a block lists, 316 bytes and one more
const RUNS: usize = 0x3600; // those as symbols of the precode: `extra value << 8 | symbol`, 16 bits each, 316 at most

const PRECODE_SYMBOLS: usize = 19;
const LONGEST: u32 = 15;
const LONGEST_OF_PRECODE: u32 = 7;
const LEAST_OF_PRECODE: usize = 4;
/** Symbols of the precode: the length before 3 to 6 times more, zeros 3 to 10 times, zeros 11 to 138 times. */
const REPEATED: u32 = 16;
const FEW_ZEROS: u32 = 17;
const MANY_ZEROS: u32 = 18;
const MAX_STORED: usize = 65535;

const STORED: u64 = 0;
const FIXED: u64 = 1;
const DYNAMIC: u64 = 2;

let to: usize = 0;
let bits: u64 = 0;
let bitCount: u64 = 0;
let runsEnd: usize = RUNS;
let literalCount: usize = 0; // symbols whose lengths a block lists
let distanceCount: usize = 0;
let precodeCount: usize = 0;

makeOrder();

function makeOrder(): void {
  store<u8>(ORDER, 16, 0);
  store<u8>(ORDER, 17, 1);
  store<u8>(ORDER, 18, 2);
  store<u8>(ORDER, 0, 3);
  // 8, and by turns below and above it.
  for (let i: usize = 0; i < 15; i++) store<u8>(ORDER + 4 + i, (i & 1 ? 8 - ((i + 1) >> 1) : 8 + (i >> 1)) as u8);
}

/** Begins output at an address. */
export function beginBits(at: usize): void {
  to = at;
  bits = 0;
  bitCount = 0;
}

/** Behind the last whole byte of output. */
export function bitsEnd(): usize {
  return to;
}

// @ts-ignore: decorator
@inline
/** Adds bits, the lowest first: at most 56 with those since the last {@link flushBits}. */
function putBits(value: u64, count: u64): void {
  bits |= value << bitCount;
  bitCount += count;
}

// @ts-ignore: decorator
@inline
/** Writes whole bytes, at most seven bits are left. */
function flushBits(): void {
  store<u64>(to, bits);
  to += (bitCount >> 3) as usize;
  bits >>= bitCount & 56;
  bitCount &= 7;
}

/** Fills the last byte up with zeros. */
export function alignBits(): void {
  bitCount = (bitCount + 7) & ~7;
  flushBits();
}

/** Writes up to four bytes of a number, the lowest first, after whole bytes. */
function putBytes(value: u32, count: u64): void {
  putBits(value as u64, count << 3);
  flushBits();
}

/** Writes the tokens as a block, or the bytes from `from` to `end` that they stand for as stored ones. */
export function writeBlock(from: usize, end: usize, isLast: bool): void {
  makeLengths(LITERAL_COUNTS, LITERAL_SYMBOLS, LONGEST, LITERAL_LENGTHS);
  makeLengths(DISTANCE_COUNTS, DISTANCE_SYMBOLS, LONGEST, DISTANCE_LENGTHS);
  const dynamic = makeHeader() + sizeOfTokens();
  const stored = sizeOfStored(end - from);
  const fixed = sizeOfFixed();
  if (stored <= min(dynamic, fixed) + 3) {
    writeStored(from, end, isLast);
    return;
  }
  const form = fixed <= dynamic ? FIXED : DYNAMIC;
  putBits((isLast ? 1 : 0) | (form << 1), 3);
  if (form == FIXED) setFixedLengths();
  else writeHeader();
  // Two symbols that never occur have fixed codes too, before the longer ones.
  makeCodes(LITERAL_LENGTHS, form == FIXED ? LITERAL_SYMBOLS + 2 : LITERAL_SYMBOLS, LITERAL_CODES);
  makeCodes(DISTANCE_LENGTHS, DISTANCE_SYMBOLS, DISTANCE_CODES);
  writeTokens();
}

/** Writes bytes as they are, in one block or more; without bytes an empty one. */
export function writeStored(from: usize, end: usize, isLast: bool): void {
  do {
    const length = min(end - from, MAX_STORED);
    putBits((isLast && from + length == end ? 1 : 0) | (STORED << 1), 3);
    alignBits();
    putBytes((length as u32) | ((~length as u32) << 16), 4);
    memory.copy(to, from, length);
    to += length;
    from += length;
  } while (from < end);
}

/** Bits of the stored blocks of `length` bytes. */
function sizeOfStored(length: usize): u32 {
  const blocks = max((length + MAX_STORED - 1) / MAX_STORED, 1) as u32;
  // Three bits, the rest of that byte, and two lengths; after the first every block begins at a whole byte.
  const first = (((bitCount as u32) + 3 + 7) & ~7) - (bitCount as u32) + 32;
  return first + (blocks - 1) * 40 + ((length as u32) << 3);
}

/** Bits of the symbols and what follows them, by the lengths that there are. */
function sizeOfTokens(): u32 {
  let size = extraBits;
  for (let i: usize = 0; i < LITERAL_SYMBOLS; i++) size += word(LITERAL_COUNTS, i) * load<u8>(LITERAL_LENGTHS + i);
  for (let i: usize = 0; i < DISTANCE_SYMBOLS; i++) size += word(DISTANCE_COUNTS, i) * load<u8>(DISTANCE_LENGTHS + i);
  return size;
}

/** The same by the fixed lengths. */
function sizeOfFixed(): u32 {
  let size = extraBits;
  for (let i: usize = 0; i < LITERAL_SYMBOLS; i++) size += word(LITERAL_COUNTS, i) * fixedLength(i);
  for (let i: usize = 0; i < DISTANCE_SYMBOLS; i++) size += word(DISTANCE_COUNTS, i) * 5;
  return size;
}

// @ts-ignore: decorator
@inline
function fixedLength(symbol: usize): u32 {
  return symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
}

function setFixedLengths(): void {
  for (let i: usize = 0; i < LITERAL_SYMBOLS + 2; i++) store<u8>(LITERAL_LENGTHS + i, fixedLength(i) as u8);
  memory.fill(DISTANCE_LENGTHS, 5, DISTANCE_SYMBOLS);
}

/** Makes the list of code lengths (RFC 1951 §3.2.7) and its code; returns the bits that both take. */
function makeHeader(): u32 {
  literalCount = LITERAL_SYMBOLS;
  while (load<u8>(LITERAL_LENGTHS + literalCount - 1) == 0) literalCount--; // the end of the block has a code
  distanceCount = DISTANCE_SYMBOLS;
  while (distanceCount > 1 && load<u8>(DISTANCE_LENGTHS + distanceCount - 1) == 0) distanceCount--;
  memory.copy(BOTH_LENGTHS, LITERAL_LENGTHS, literalCount);
  memory.copy(BOTH_LENGTHS + literalCount, DISTANCE_LENGTHS, distanceCount);
  memory.fill(PRECODE_COUNTS, 0, PRECODE_SYMBOLS << 2);
  runsEnd = RUNS;
  const end = BOTH_LENGTHS + literalCount + distanceCount;
  store<u8>(end, 0xff); // ends the last run
  let size: u32 = 0;
  for (let at = BOTH_LENGTHS; at < end; ) {
    const length = load<u8>(at) as u32;
    const from = at;
    while (load<u8>(++at) == length) {}
    size += addRun(length, (at - from) as u32);
  }
  makeLengths(PRECODE_COUNTS, PRECODE_SYMBOLS, LONGEST_OF_PRECODE, PRECODE_LENGTHS);
  precodeCount = PRECODE_SYMBOLS;
  while (precodeCount > LEAST_OF_PRECODE && lengthInOrder(precodeCount - 1) == 0) precodeCount--;
  for (let i: usize = 0; i < PRECODE_SYMBOLS; i++) size += word(PRECODE_COUNTS, i) * load<u8>(PRECODE_LENGTHS + i);
  return size + 5 + 5 + 4 + 3 * (precodeCount as u32);
}

/** Adds the symbols for `count` equal lengths; returns the bits of the numbers that follow them. */
function addRun(length: u32, count: u32): u32 {
  let extra: u32 = 0;
  if (length == 0) {
    for (; count > 10; extra += 7) {
      const zeros = min(count, 138 as u32);
      addToList(MANY_ZEROS, zeros - 11);
      count -= zeros;
    }
    if (count > 2) {
      addToList(FEW_ZEROS, count - 3);
      return extra + 3;
    }
  } else {
    addToList(length, 0);
    count--;
    for (; count > 2; extra += 2) {
      // Seven more are four and three, so that no one has to be listed by itself.
      const more = count == 7 ? 4 : min(count, 6 as u32);
      addToList(REPEATED, more - 3);
      count -= more;
    }
  }
  for (; count > 0; count--) addToList(length, 0);
  return extra;
}

function addToList(symbol: u32, value: u32): void {
  store<u16>(runsEnd, (symbol | (value << 8)) as u16);
  runsEnd += 2;
  setWord(PRECODE_COUNTS, symbol, word(PRECODE_COUNTS, symbol) + 1);
}

// @ts-ignore: decorator
@inline
function lengthInOrder(place: usize): u32 {
  return load<u8>(PRECODE_LENGTHS + load<u8>(ORDER + place));
}

function writeHeader(): void {
  putBits((literalCount - 257) as u64, 5);
  putBits((distanceCount - 1) as u64, 5);
  putBits((precodeCount - LEAST_OF_PRECODE) as u64, 4);
  for (let i: usize = 0; i < precodeCount; i++) {
    putBits(lengthInOrder(i) as u64, 3);
    flushBits();
  }
  makeCodes(PRECODE_LENGTHS, PRECODE_SYMBOLS, PRECODE_CODES);
  for (let at = RUNS; at < runsEnd; at += 2) {
    const symbol = load<u8>(at) as u32;
    putCode(word(PRECODE_CODES, symbol));
    putBits(load<u8>(at, 1) as u64, symbol < REPEATED ? 0 : symbol == REPEATED ? 2 : symbol == FEW_ZEROS ? 3 : 7);
    flushBits();
  }
}

// @ts-ignore: decorator
@inline
function putCode(code: u32): void {
  putBits((code & 0xffff) as u64, (code >>> 16) as u64);
}

function writeTokens(): void {
  for (let at = TOKENS; at < tokensEnd; at += 4) {
    const token = load<u32>(at);
    if (token >> 31 == 0) {
      putCode(word(LITERAL_CODES, token));
    } else {
      // 15 and 5 bits of a length, 15 and 13 of a distance.
      const length = token & 0x1ff;
      const ofLength = lengthSymbol(length);
      putCode(word(LITERAL_CODES, END_OF_BLOCK + 1 + ofLength));
      putRest(length - 3, lengthExtra(ofLength));
      const back = (token & 0x7fffffff) >> 9;
      const ofDistance = distanceSymbol(back);
      putCode(word(DISTANCE_CODES, ofDistance));
      putRest(back, distanceExtra(ofDistance));
    }
    flushBits();
  }
  putCode(word(LITERAL_CODES, END_OF_BLOCK));
  flushBits();
}

// @ts-ignore: decorator
@inline
/** Writes the lowest bits: what a symbol stands for begins at a multiple of the values that follow it. */
function putRest(value: u32, count: u32): void {
  putBits((value & ((1 << count) - 1)) as u64, count as u64);
}
