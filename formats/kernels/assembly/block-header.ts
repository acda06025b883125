/** Block headers: the stored length, or the code tables (RFC 1951 §3.2.3 to §3.2.7). */
import { advance, bitCount, bits, giveBack, holdBits, input, inputEnd, refill, storeBits, take } from './bit-reader.ts';
import {
  buildTable,
  DISTANCE_BITS,
  DISTANCE_SYMBOLS,
  DISTANCE_TABLE,
  LENGTHS,
  LITERAL_BITS,
  LITERAL_SYMBOLS,
  LITERAL_TABLE,
  PRECODE_BITS,
  PRECODE_SYMBOLS,
  PRECODE_TABLE,
} from './huffman.ts';
import {
  BAD_BLOCK_TYPE,
  BAD_DISTANCE_CODE,
  BAD_LITERAL_CODE,
  BAD_PRECODE,
  BAD_REPEAT,
  BAD_STORED_LENGTH,
  NO_END_OF_BLOCK,
  TOO_MANY_SYMBOLS,
  TRUNCATED,
} from './stops.ts';

/** No block header is longer: 14 + 19 * 3 + 316 * 14 bits is 562 bytes. */
export const HEADER_AHEAD: usize = 640;

const PRECODE_ORDER: usize = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]);

/** Whether the block is the last of its stream. */
export let lastBlock: bool = false;
/** Whether the block is stored; otherwise its tables are built. */
export let stored: bool = false;
/** Bytes of a stored block. */
export let storedLength: usize = 0;

/** The tables in memory are those of the fixed code. */
let fixedTables: bool = false;

/** Reads the header of the next block; 0, or why the stream is refused. */
export function readHeader(): i32 {
  refill();
  lastBlock = take(1) != 0;
  const type = take(2);
  stored = type == 0;
  if (stored) {
    giveBack();
    holdBits(0, 0);
    if (input + 4 > inputEnd) return TRUNCATED;
    const length = load<u16>(input) as usize;
    if ((load<u16>(input, 2) ^ 0xffff) as usize != length) return headerError(BAD_STORED_LENGTH);
    advance(4);
    storedLength = length;
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
  v128.store(LENGTHS, i8x16.splat(0));
  v128.store(LENGTHS, i8x16.splat(0), 16);
  for (let i: usize = 0; i < precodes; i++) {
    if (i == 9) refill(); // 14 and 9 times 3 bits are used, 10 times 3 are to come
    store<u8>(LENGTHS + (load<u8>(PRECODE_ORDER + i) as usize), take(3) as u8);
  }
  if (!buildTable(PRECODE_TABLE, PRECODE_BITS, LENGTHS, 19, PRECODE_SYMBOLS, false)) return BAD_PRECODE;

  const total: usize = literals + distances;
  if (!readLengths(LENGTHS + total)) return BAD_REPEAT;
  if (load<u8>(LENGTHS + 256) == 0) return NO_END_OF_BLOCK;
  if (!buildTable(LITERAL_TABLE, LITERAL_BITS, LENGTHS, literals, LITERAL_SYMBOLS, true)) return BAD_LITERAL_CODE;
  if (!buildTable(DISTANCE_TABLE, DISTANCE_BITS, LENGTHS + literals, distances, DISTANCE_SYMBOLS, true)) {
    return BAD_DISTANCE_CODE;
  }
  return 0;
}

/** Reads code lengths into LENGTHS up to `end`; false where a repeat has no length before it or goes past the end. */
function readLengths(end: usize): bool {
  let from = input;
  let held = bits;
  let count = bitCount;
  let to = LENGTHS;
  while (to < end) {
    held |= load<u64>(from) << count;
    from += (7 - ((count >> 3) & 7)) as usize;
    count |= 56;
    const entry = load<u32>(PRECODE_TABLE + ((held as usize & ((1 << PRECODE_BITS) - 1)) << 2)) as u64;
    held >>= entry;
    count -= entry;
    const symbol = (entry >> 16) as u32;
    if (symbol < 16) {
      store<u8>(to++, symbol as u8);
      continue;
    }
    // Stores of sixteen may go past the end of a repeat, since the next lengths overwrite that.
    let value = i8x16.splat(0);
    let repeat: usize;
    if (symbol == 16) {
      if (to == LENGTHS) break;
      value = i8x16.splat(load<i8>(to - 1));
      repeat = 3 + (held as usize & 3);
      held >>= 2;
      count -= 2;
    } else if (symbol == 17) {
      repeat = 3 + (held as usize & 7);
      held >>= 3;
      count -= 3;
    } else {
      repeat = 11 + (held as usize & 127);
      held >>= 7;
      count -= 7;
    }
    if (to + repeat > end) break;
    for (let done: usize = 0; done < repeat; done += 16) v128.store(to + done, value);
    to += repeat;
  }
  storeBits(from, held, count);
  return to == end;
}
