/**
 * Inflate (RFC 1951) as a machine that stops: when it needs input, when its megabyte of output is full, at the end of
 * each block if asked, and at the end of the stream. It accepts and refuses exactly what zlib does.
 *
 * What makes it fast, by measurement: a 64-bit bit buffer refilled without a branch, up to three literals a refill,
 * 16-byte copies that overrun into slack, and no second, careful loop: near the end of the input it waits for more, and
 * at the very end the input is padded with zeros and the position is checked afterwards.
 */
import {
  buildTable,
  DISTANCE_BITS,
  DISTANCE_SYMBOLS,
  DISTANCE_TABLE,
  END_OF_BLOCK,
  EXCEPTIONAL,
  LENGTHS,
  LITERAL,
  LITERAL_BITS,
  LITERAL_SYMBOLS,
  LITERAL_TABLE,
  makeSymbols,
  PRECODE_BITS,
  PRECODE_SYMBOLS,
  PRECODE_TABLE,
  SUBTABLE,
} from './huffman';
import { clearReferences, forgetWatches, markReferences, slideWatches, watchLimit } from './references';

export { referencesAddress } from './references';

// Memory, fixed: the TypeScript side caches views on these (formats/kernels/inflate.ts).
const SWIZZLES: usize = 0x5f00; // for distances 1 to 15, sixteen indices each
const INPUT: usize = 0x10000; // 256 KiB, then padding
const INPUT_PADDING: usize = 1024;
const HISTORY: usize = 0x60000; // the 32 KiB before the output
const OUTPUT: usize = 0x68000; // 1 MiB, then slack for a match and its overrun
const OUTPUT_END: usize = 0x168000;

/** No block header is longer: 14 + 19 * 3 + 316 * 14 bits is 562 bytes. */
const HEADER_AHEAD: usize = 640;
/** A step of the symbol loop reads at most 22 bytes ahead of where it started. */
const SYMBOL_AHEAD: usize = 32;

// Why run() returned.
const NEEDS_INPUT: i32 = 0;
const OUTPUT_FULL: i32 = 1;
const BOUNDARY: i32 = 2;
const END: i32 = 3;
const BAD_BLOCK_TYPE: i32 = -1;
const BAD_STORED_LENGTH: i32 = -2;
const TOO_MANY_SYMBOLS: i32 = -3;
const BAD_PRECODE: i32 = -4;
const BAD_REPEAT: i32 = -5;
const NO_END_OF_BLOCK: i32 = -6;
const BAD_LITERAL_CODE: i32 = -7;
const BAD_DISTANCE_CODE: i32 = -8;
const BAD_LENGTH_SYMBOL: i32 = -9;
const BAD_DISTANCE_SYMBOL: i32 = -10;
const TOO_FAR_BACK: i32 = -11;
const TRUNCATED: i32 = -12;

// What run() goes on with.
const IN_HEADER: i32 = 0;
const IN_SYMBOLS: i32 = 1;
const IN_STORED: i32 = 2;
const ENDED: i32 = 3;

const PRECODE_ORDER: usize = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]);

let mode: i32 = IN_HEADER;
let lastBlock: bool = false;
let fixedTables: bool = false; // the tables in memory are those of the fixed code
let storedLeft: usize = 0;
let stopAtBlocks: bool = false;

// Between calls less than a byte of bits is held, all of it from the byte before `input`.
let input: usize = INPUT;
let inputEnd: usize = INPUT;
let bits: u64 = 0;
let bitCount: u64 = 0;
let output: usize = OUTPUT;
let historyStart: usize = OUTPUT; // no match reaches below

makeSymbols();
for (let distance: usize = 1; distance < 16; distance++) {
  for (let i: usize = 0; i < 16; i++) store<u8>(SWIZZLES + (distance << 4) + i, (i % distance) as u8);
}

export function inputAddress(): usize {
  return INPUT;
}
/** First byte not yet consumed; a byte of which bits are left counts as consumed. */
export function inputPosition(): usize {
  return input;
}
/** Bits left of the last consumed byte, 0 to 7. */
export function spareBits(): u32 {
  return bitCount as u32;
}
export function outputAddress(): usize {
  return OUTPUT;
}
export function outputPosition(): usize {
  return output;
}
export function historyPosition(): usize {
  return historyStart;
}

/** Tells where input starts and ends after the caller moved it. */
export function setInput(start: usize, end: usize): void {
  input = start;
  inputEnd = end;
}

/** Starts a stream at the next whole byte of input; output goes on where it is, without a history. */
export function begin(atBlocks: bool): void {
  stopAtBlocks = atBlocks;
  mode = IN_HEADER;
  lastBlock = false;
  bits = 0;
  bitCount = 0;
  historyStart = output;
  forgetWatches();
}

/** After {@link begin}: `count` bits (0 to 7) that come before the input, and a history of 32 KiB at HISTORY. */
export function prime(value: u32, count: u32): void {
  output = OUTPUT;
  historyStart = HISTORY;
  bits = value as u64;
  bitCount = count as u64;
}

/** Moves the last 32 KiB of output into the history and starts the output anew; returns by how much it moved. */
export function slide(): usize {
  const by = output - OUTPUT;
  memory.copy(HISTORY, HISTORY + by, OUTPUT - HISTORY);
  output = OUTPUT;
  historyStart = historyStart < HISTORY + by ? HISTORY : historyStart - by;
  slideWatches(by);
  return by;
}

/** From here on, logs in `slot` which of the 32 KiB before this position are referenced. */
export function watch(slot: u32): void {
  clearReferences(slot, output);
}

/** Goes on until one of the reasons above. `final`: there is no input behind what is there. */
export function run(final: bool): i32 {
  if (final) memory.fill(inputEnd, 0, INPUT_PADDING);
  while (true) {
    if (input > inputEnd) return TRUNCATED;
    let stop: i32;
    if (mode == IN_SYMBOLS) {
      // Padding may be read, not believed: a block that runs into it is truncated.
      const safe = final ? inputEnd + SYMBOL_AHEAD : inputEnd - SYMBOL_AHEAD;
      if (!final && inputEnd - input < SYMBOL_AHEAD) return NEEDS_INPUT;
      stop = decodeSymbols(safe);
      if (stop == NEEDS_INPUT && final) return TRUNCATED;
    } else if (mode == IN_STORED) {
      stop = copyStored();
      if (stop == NEEDS_INPUT && final) return TRUNCATED;
    } else if (mode == IN_HEADER) {
      if (!final && inputEnd - input < HEADER_AHEAD) return NEEDS_INPUT;
      stop = readHeader();
      if (stop == 0) continue;
    } else {
      return END;
    }
    if (input > inputEnd) return TRUNCATED;
    if (stop != BOUNDARY) return stop;
    mode = lastBlock ? ENDED : IN_HEADER;
    if (lastBlock) return END;
    if (stopAtBlocks) return BOUNDARY;
  }
}

function copyStored(): i32 {
  while (storedLeft > 0) {
    const size = min(storedLeft, min(inputEnd - input, OUTPUT_END - min(output, OUTPUT_END)));
    if (size == 0) return output >= OUTPUT_END ? OUTPUT_FULL : NEEDS_INPUT;
    memory.copy(output, input, size);
    output += size;
    input += size;
    storedLeft -= size;
  }
  return BOUNDARY;
}

// @ts-ignore: decorator
@inline
function take(count: u64): u32 {
  const value = bits & (((1 as u64) << count) - 1);
  bits >>= count;
  bitCount -= count;
  return value as u32;
}

/** Fills the bit buffer to at least 56 bits; what is above the count is the start of the next byte already. */
// @ts-ignore: decorator
@inline
function refill(): void {
  bits |= load<u64>(input) << bitCount;
  input += (7 - ((bitCount >> 3) & 7)) as usize;
  bitCount |= 56;
}

/** Gives whole unused bytes back to the input. */
// @ts-ignore: decorator
@inline
function giveBack(): void {
  bitCount &= 63;
  input -= (bitCount >> 3) as usize;
  bitCount &= 7;
  bits &= ((1 as u64) << bitCount) - 1;
}

/** Reads a block's header and builds its tables (RFC 1951 §3.2.3); 0, or why the stream is refused. */
function readHeader(): i32 {
  refill();
  lastBlock = take(1) != 0;
  const type = take(2);
  if (type == 0) {
    giveBack();
    bits = 0;
    bitCount = 0;
    const length = load<u16>(input) as usize;
    if ((load<u16>(input, 2) ^ 0xffff) as usize != length) return headerError(BAD_STORED_LENGTH);
    input += 4;
    storedLeft = length;
    mode = IN_STORED;
    return 0;
  }
  if (type == 3) return headerError(BAD_BLOCK_TYPE);
  if (type == 1) {
    giveBack();
    if (!fixedTables) buildFixedTables();
  } else {
    fixedTables = false;
    const error = readDynamicTables();
    if (error != 0) return headerError(error);
    giveBack();
  }
  mode = IN_SYMBOLS;
  return 0;
}

/** An error that shows only in the padding is a truncated stream. */
function headerError(error: i32): i32 {
  giveBack();
  return input > inputEnd ? TRUNCATED : error;
}

function buildFixedTables(): void {
  memory.fill(LENGTHS, 8, 144);
  memory.fill(LENGTHS + 144, 9, 112);
  memory.fill(LENGTHS + 256, 7, 24);
  memory.fill(LENGTHS + 280, 8, 8);
  memory.fill(LENGTHS + 288, 5, 32);
  buildTable(LITERAL_TABLE, LITERAL_BITS, LENGTHS, 288, LITERAL_SYMBOLS, false);
  buildTable(DISTANCE_TABLE, DISTANCE_BITS, LENGTHS + 288, 32, DISTANCE_SYMBOLS, false);
  fixedTables = true;
}

/** The code lengths of a dynamic block and their tables (RFC 1951 §3.2.7). */
function readDynamicTables(): i32 {
  const literals = take(5) + 257;
  const distances = take(5) + 1;
  const precodes = take(4) + 4;
  if (literals > 286 || distances > 30) return TOO_MANY_SYMBOLS;
  memory.fill(LENGTHS, 0, 19);
  for (let i: usize = 0; i < precodes; i++) {
    refill();
    store<u8>(LENGTHS + (load<u8>(PRECODE_ORDER + i) as usize), take(3) as u8);
  }
  if (!buildTable(PRECODE_TABLE, PRECODE_BITS, LENGTHS, 19, PRECODE_SYMBOLS, false)) return BAD_PRECODE;

  const total: usize = literals + distances;
  let have: usize = 0;
  while (have < total) {
    refill();
    const entry = load<u32>(PRECODE_TABLE + ((bits as usize & ((1 << PRECODE_BITS) - 1)) << 2));
    take((entry & 63) as u64);
    const symbol = entry >>> 16;
    if (symbol < 16) {
      store<u8>(LENGTHS + have++, symbol as u8);
      continue;
    }
    let value: u8 = 0;
    let repeat: usize;
    if (symbol == 16) {
      if (have == 0) return BAD_REPEAT;
      value = load<u8>(LENGTHS + have - 1);
      repeat = 3 + take(2);
    } else {
      repeat = symbol == 17 ? 3 + take(3) : 11 + take(7);
    }
    if (have + repeat > total) return BAD_REPEAT;
    memory.fill(LENGTHS + have, value, repeat);
    have += repeat;
  }
  if (load<u8>(LENGTHS + 256) == 0) return NO_END_OF_BLOCK;
  if (!buildTable(LITERAL_TABLE, LITERAL_BITS, LENGTHS, literals, LITERAL_SYMBOLS, true)) return BAD_LITERAL_CODE;
  if (!buildTable(DISTANCE_TABLE, DISTANCE_BITS, LENGTHS + literals, distances, DISTANCE_SYMBOLS, true)) {
    return BAD_DISTANCE_CODE;
  }
  return 0;
}

// @ts-ignore: decorator
@inline
function lookUp(table: usize, tableBits: u32, held: u64): u64 {
  return load<u32>(table + ((held as usize & ((1 << tableBits) - 1)) << 2)) as u64;
}

// @ts-ignore: decorator
@inline
function lookUpSubtable(table: usize, entry: u64, held: u64): u64 {
  const mask = ((1 as u64) << ((entry >> 8) & 15)) - 1;
  return load<u32>(table + (((entry >> 16) as usize + (held & mask) as usize) << 2)) as u64;
}

/** The number in an entry: its base plus the extra bits behind its code. */
// @ts-ignore: decorator
@inline
function valueOf(entry: u64, held: u64): usize {
  const taken = held & (((1 as u64) << entry) - 1);
  return ((entry >> 16) + (taken >> ((entry >> 8) & 15))) as usize;
}

/**
 * Decodes symbols until the block ends (BOUNDARY), the input is past `safe` or the output is full. In the bit count
 * only the low six bits count: whole entries are subtracted from it.
 */
function decodeSymbols(safe: usize): i32 {
  let from = input;
  let to = output;
  let held = bits;
  let count = bitCount;
  const guard = max(historyStart, watchLimit());
  let stop: i32 = NEEDS_INPUT;

  while (true) {
    if (from > safe) break;
    if (to >= OUTPUT_END) {
      stop = OUTPUT_FULL;
      break;
    }
    held |= load<u64>(from) << count;
    from += (7 - ((count >> 3) & 7)) as usize;
    count |= 56;

    // Three literals take at most 33 of the 56 bits; a length behind two of them at most 20 of the 34 left.
    let entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);
    if (entry & LITERAL) {
      store<u8>(to++, (entry >> 16) as u8);
      held >>= entry;
      count -= entry;
      entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);
      if (entry & LITERAL) {
        store<u8>(to++, (entry >> 16) as u8);
        held >>= entry;
        count -= entry;
        entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);
        if (entry & LITERAL) {
          store<u8>(to++, (entry >> 16) as u8);
          held >>= entry;
          count -= entry;
          continue;
        }
      }
    }
    if (entry & EXCEPTIONAL) {
      if (entry & SUBTABLE) {
        held >>= LITERAL_BITS as u64;
        count -= LITERAL_BITS as u64;
        entry = lookUpSubtable(LITERAL_TABLE, entry, held);
        if (entry & LITERAL) {
          store<u8>(to++, (entry >> 16) as u8);
          held >>= entry;
          count -= entry;
          continue;
        }
      }
      if (entry & EXCEPTIONAL) {
        held >>= entry;
        count -= entry;
        stop = entry & END_OF_BLOCK ? BOUNDARY : BAD_LENGTH_SYMBOL;
        break;
      }
    }
    const length = valueOf(entry, held);
    held >>= entry;
    count -= entry;

    held |= load<u64>(from) << count;
    from += (7 - ((count >> 3) & 7)) as usize;
    count |= 56;
    entry = lookUp(DISTANCE_TABLE, DISTANCE_BITS, held);
    if (entry & EXCEPTIONAL) {
      if (entry & SUBTABLE) {
        held >>= DISTANCE_BITS as u64;
        count -= DISTANCE_BITS as u64;
        entry = lookUpSubtable(DISTANCE_TABLE, entry, held);
      }
      if (entry & EXCEPTIONAL) {
        stop = BAD_DISTANCE_SYMBOL;
        break;
      }
    }
    const distance = valueOf(entry, held);
    held >>= entry;
    count -= entry;

    let match = to - distance;
    if (match < guard) {
      if (match < historyStart) {
        stop = TOO_FAR_BACK;
        break;
      }
      markReferences(match, min(match + length, to));
    }
    const end = to + length;
    if (distance >= 16) {
      do {
        v128.store(to, v128.load(match));
        to += 16;
        match += 16;
      } while (to < end);
    } else {
      // The bytes repeat every `distance`: make sixteen of them once, then store those at multiples of it.
      const pattern = v128.swizzle(v128.load(match), v128.load(SWIZZLES + (distance << 4)));
      const step: usize = 16 - ((16 as usize) % distance);
      do {
        v128.store(to, pattern);
        to += step;
      } while (to < end);
    }
    to = end;
  }

  input = from;
  output = to;
  bits = held;
  bitCount = count;
  giveBack();
  return stop;
}
