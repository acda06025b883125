/**
 * Inflate (RFC 1951) as a machine that stops: when it needs input, when a megabyte of output is full, at the end of
 * each block if asked, and at the end of the stream. It accepts and refuses exactly what zlib does.
 *
 * It is fast because of a 64-bit bit buffer refilled without a branch, the next symbol looked up before a match is copied,
 * copies of 32 bytes that overrun into slack, a loop without calls, so that its state stays in registers, and no second,
 * careful loop: near the end of the input it waits for more, and at the very end the input is padded with zeros and the
 * position is checked afterwards.
 */
import { advance, bitCount, bits, giveBack, holdBits, input, inputEnd, placeInput, storeBits } from './bit-reader.ts';
import { HEADER_AHEAD, lastBlock, readHeader, stored, storedLength } from './block-header.ts';
import {
  DISTANCE_BITS,
  DISTANCE_TABLE,
  END_OF_BLOCK,
  EXCEPTIONAL,
  LITERAL,
  LITERAL_BITS,
  LITERAL_TABLE,
  makeSymbols,
  SUBTABLE,
} from './huffman.ts';
import { clearReferences, forgetWatches, logAddress, markReferences, slideWatches, watchLimit } from './references.ts';
import {
  BAD_DISTANCE_SYMBOL,
  BAD_LENGTH_SYMBOL,
  BOUNDARY,
  END,
  NEEDS_INPUT,
  OUTPUT_FULL,
  TOO_FAR_BACK,
  TRUNCATED,
} from './stops.ts';

// Memory, fixed: the TypeScript side caches views on these (formats/kernels/inflate.ts).
const SWIZZLES: usize = 0x5f00; // for distances 1 to 15, sixteen indices each
const STEPS: usize = 0x5f00; // and what multiple of the distance is next below sixteen
const INPUT: usize = 0x10000; // 256 KiB, then padding
const INPUT_PADDING: usize = 1024;
const HISTORY: usize = 0x60000; // the 32 KiB before the output
const OUTPUT: usize = 0x68000; // OUTPUT_ADDRESS of formats/kernels/inflate.ts: pieces of 1 MiB, then slack for a match and its overrun
const PIECE: usize = 0x100000;

/** A step of the symbol loop reads at most 22 bytes ahead of where it started. */
const SYMBOL_AHEAD: usize = 32;

// The state that run() continues from.
const IN_HEADER: i32 = 0;
const IN_SYMBOLS: i32 = 1;
const IN_STORED: i32 = 2;
const ENDED: i32 = 3;

/** Beside the reasons to stop: decodeSymbols() left a match to {@link copyPending}. */
const PENDING: i32 = 4;

let mode: i32 = IN_HEADER;
let storedLeft: usize = 0;
let stopAtBlocks: bool = false;
let output: usize = OUTPUT;
let outputEnd: usize = OUTPUT + PIECE; // where the piece ends that is being filled
let historyStart: usize = OUTPUT; // no match reaches below
let matchGuard: usize = 0; // a match that starts below is looked at before it is copied
let pendingMatch: usize = 0; // such a match, decoded: where it starts
let pendingLength: usize = 0;

placeInput(INPUT, INPUT);
makeSymbols();
for (let distance: usize = 1; distance < 16; distance++) {
  store<u8>(STEPS + distance, (16 - (16 % distance)) as u8);
  for (let i: usize = 0; i < 16; i++) store<u8>(SWIZZLES + (distance << 4) + i, (i % distance) as u8);
}

/** Where the input area starts: 256 KiB. */
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

/** Behind the last byte of output. */
export function outputPosition(): usize {
  return output;
}

/** The first byte that belongs to the stream's output or window. */
export function historyPosition(): usize {
  return historyStart;
}

/** Takes `length` bytes of input, at most what there is room for behind the input, from elsewhere in the memory. */
export function copyInput(from: usize, to: usize, length: usize): void {
  memory.copy(to, from, length);
}

/** Sets where input starts and ends after the caller moved it. */
export function setInput(start: usize, end: usize): void {
  placeInput(start, end);
}

/** Starts a stream at the next whole byte of input; output goes on where it is, without a history. */
export function begin(atBlocks: bool): void {
  stopAtBlocks = atBlocks;
  mode = IN_HEADER;
  holdBits(0, 0);
  historyStart = output;
  forgetWatches();
}

/** After {@link begin}: `count` bits (0 to 7) that come before the input, and a history of 32 KiB at HISTORY. */
export function prime(value: u32, count: u32): void {
  output = OUTPUT;
  outputEnd = OUTPUT + PIECE;
  historyStart = HISTORY;
  holdBits(value as u64, count as u64);
}

/** Goes on in the next piece; the output before it stays where it is. There must be one. */
export function nextPiece(): void {
  outputEnd += PIECE;
}

/**
 * Goes on in the first piece, with the end of the last one as its history; returns by how much that moved: the bytes of all
 * pieces, so that what is aligned in the output stays aligned in memory.
 */
export function slide(): usize {
  const by = outputEnd - OUTPUT;
  output -= by;
  outputEnd = OUTPUT + PIECE;
  memory.copy(HISTORY, HISTORY + by, output - HISTORY);
  historyStart = historyStart < HISTORY + by ? HISTORY : historyStart - by;
  slideWatches(by);
  return by;
}

/** From here on, logs in `slot` which of the 32 KiB before this position are referenced. */
export function watch(slot: u32): void {
  clearReferences(slot, output);
}

/** Where the log of a slot is: a bit for each byte of the window. */
export function referencesAddress(slot: u32): usize {
  return logAddress(slot);
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
      matchGuard = max(historyStart, watchLimit());
      stop = decodeSymbols(safe);
      if (stop == PENDING) {
        if (input > inputEnd) return TRUNCATED;
        if (pendingMatch < historyStart) return TOO_FAR_BACK;
        copyPending();
        continue;
      }
      if (stop == NEEDS_INPUT && final) return TRUNCATED;
    } else if (mode == IN_STORED) {
      stop = copyStored();
      if (stop == NEEDS_INPUT && final) return TRUNCATED;
    } else if (mode == IN_HEADER) {
      if (!final && inputEnd - input < HEADER_AHEAD) return NEEDS_INPUT;
      stop = readHeader();
      if (stop == 0) {
        mode = stored ? IN_STORED : IN_SYMBOLS;
        storedLeft = storedLength;
        continue;
      }
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

/** Logs and copies the match at which the symbol loop stopped. */
function copyPending(): void {
  const end = output + pendingLength;
  markReferences(pendingMatch, min(pendingMatch + pendingLength, output));
  copyMatch(output, pendingMatch, pendingLength);
  output = end;
}

function copyStored(): i32 {
  while (storedLeft > 0) {
    const size = min(storedLeft, min(inputEnd - input, outputEnd - min(output, outputEnd)));
    if (size == 0) return output >= outputEnd ? OUTPUT_FULL : NEEDS_INPUT;
    memory.copy(output, input, size);
    output += size;
    advance(size);
    storedLeft -= size;
  }
  return BOUNDARY;
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

// @ts-ignore: decorator
@inline
function isLiteral(entry: u64): bool {
  return (entry as i32) < 0;
}

/** The number in an entry: its base plus the extra bits behind its code. */
// @ts-ignore: decorator
@inline
function valueOf(entry: u64, held: u64): usize {
  const taken = held & (((1 as u64) << entry) - 1);
  return ((entry >> 16) + (taken >> (entry >> 8))) as usize;
}

/** Appends at `to` the bytes from `match` on; what was appended may be among them. Overruns by up to 31 bytes. */
// @ts-ignore: decorator
@inline
function copyMatch(to: usize, match: usize, length: usize): void {
  const distance = to - match;
  if (distance >= 16) {
    v128.store(to, v128.load(match));
    v128.store(to, v128.load(match, 16), 16);
    for (let done: usize = 32; done < length; done += 32) {
      v128.store(to + done, v128.load(match + done));
      v128.store(to + done, v128.load(match + done, 16), 16);
    }
  } else {
    // The bytes repeat every `distance`: make sixteen of them once, then store those at multiples of it.
    const pattern = v128.swizzle(v128.load(match), v128.load(SWIZZLES + (distance << 4)));
    const step = load<u8>(STEPS + distance) as usize;
    for (let done: usize = 0; done < length; done += step) v128.store(to + done, pattern);
  }
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
  const end = outputEnd;
  const guard = matchGuard;
  let stop: i32 = NEEDS_INPUT;

  held |= load<u64>(from) << count;
  from += (7 - ((count >> 3) & 7)) as usize;
  count |= 56;
  let entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);

  while (true) {
    if (from > safe) break;
    if (to >= end) {
      stop = OUTPUT_FULL;
      break;
    }

    // A literal takes at most 11 of the 56 bits, a length 16 and its distance 28: one of each after a refill.
    if (isLiteral(entry)) {
      store<u8>(to++, (entry >> 16) as u8);
      held >>= entry;
      count -= entry;
      entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);
      if (isLiteral(entry)) {
        store<u8>(to++, (entry >> 16) as u8);
        held >>= entry;
        count -= entry;
        held |= load<u64>(from) << count;
        from += (7 - ((count >> 3) & 7)) as usize;
        count |= 56;
        entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);
        if (isLiteral(entry)) {
          store<u8>(to++, (entry >> 16) as u8);
          held >>= entry;
          count -= entry;
          entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);
          if (isLiteral(entry)) {
            store<u8>(to++, (entry >> 16) as u8);
            held >>= entry;
            count -= entry;
            held |= load<u64>(from) << count;
            from += (7 - ((count >> 3) & 7)) as usize;
            count |= 56;
            entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);
            continue;
          }
        }
      }
    }
    if (entry & EXCEPTIONAL) {
      if (entry & SUBTABLE) {
        held >>= LITERAL_BITS as u64;
        count -= LITERAL_BITS as u64;
        held |= load<u64>(from) << count;
        from += (7 - ((count >> 3) & 7)) as usize;
        count |= 56;
        entry = lookUpSubtable(LITERAL_TABLE, entry, held);
        if (isLiteral(entry)) {
          store<u8>(to++, (entry >> 16) as u8);
          held >>= entry;
          count -= entry;
          entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);
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

    held |= load<u64>(from) << count;
    from += (7 - ((count >> 3) & 7)) as usize;
    count |= 56;
    entry = lookUp(LITERAL_TABLE, LITERAL_BITS, held);

    const match = to - distance;
    if (match < guard) {
      pendingMatch = match;
      pendingLength = length;
      stop = PENDING;
      break;
    }
    copyMatch(to, match, length);
    to += length;
  }

  output = to;
  storeBits(from, held, count);
  giveBack();
  return stop;
}
