/**
 * LZ4 blocks that a thorough search makes small, in batches as lz4.ts has them. Any decoder reads them; the bytes are this
 * project's own.
 *
 * First every position is linked to the one before it with the same four bytes. Then the match that goes farthest from each
 * position is found: one from the position before goes on, and what goes farther than it holds the byte after its end, so the
 * four bytes up to that one are looked up, the rarest of all, once for each end. Matches that start later are
 * kept for then. At last the cheapest way from each position to the end is chosen, backwards: an offset costs two bytes
 * whatever it is, and the way to the end never costs more from a later position, so of all lengths of a match only the
 * longest, and the longest that its token holds, can be the best.
 */
import { crc32c, makeCrcTables } from './crc32c.ts';
import {
  commonLength,
  copy,
  extendLength,
  FIRST_SLOT,
  finish,
  HASH_MULTIPLIER,
  HASH_TABLE,
  INPUT,
  LAST_LITERALS,
  LENGTHS,
  MATCH_MARGIN,
  MIN_MATCH,
  NIBBLE,
  OUTPUT,
  POSITIONS,
  SALT,
  SLOT_BYTES,
} from './lz4-block.ts';

// For each position of a block, from 0 to 65535:
const CHAIN: usize = POSITIONS; // 16 bits: 1 + the position before it with the same hash, or 0
const MATCHES: usize = POSITIONS + 0x20000; // 32 bits: the match that starts there, 0 if none does
const COST: usize = POSITIONS + 0x60000; // 32 bits, also of the end: bytes of the cheapest way from there to the end

/** The longest match that a token holds without more bytes. */
const TOKEN_MATCH: usize = 14 + MIN_MATCH;
/** Positions that a match of this length covers are not searched. */
const LONG: usize = 128;

makeCrcTables();

/**
 * Compresses the first `length` bytes of a slot's input in blocks of `blockSize`, looking at `attempts` earlier positions for
 * each; returns the bytes of output.
 */
export function compress(slot: usize, length: usize, blockSize: usize, attempts: u32): usize {
  const base = FIRST_SLOT + slot * SLOT_BYTES;
  let to = base + OUTPUT;
  let entry = base + LENGTHS;
  const end = base + INPUT + length;
  const hashBits = min(15, 32 - (clz((blockSize - 1) as u32) as u32));
  for (let from = base + INPUT; from < end; from += blockSize) {
    const size = min(blockSize, end - from);
    const after = compressBlock(from, size, to, hashBits, attempts);
    store<u32>(after, crc32c(to, after - to, SALT));
    store<u32>(entry, (after - to + 4) as u32);
    entry += 4;
    to = after + 4;
  }
  return to - base - OUTPUT;
}

function compressBlock(base: usize, size: usize, to: usize, hashBits: u32, attempts: u32): usize {
  if (size <= MATCH_MARGIN) return finish(to, base, base + size);
  memory.fill(HASH_TABLE, 0, (2 as usize) << hashBits);
  linkPositions(base, size, hashBits);
  findMatches(base, size, attempts);
  chooseMatches(size);
  return writeSequences(base, size, to);
}

/** Links each position to the one before it whose four bytes have the same hash. */
function linkPositions(base: usize, size: usize, hashBits: u32): void {
  const hashShift = 32 - hashBits;
  const last = size - LAST_LITERALS - MIN_MATCH;
  for (let position: usize = 0; position <= last; position++) {
    const slot = HASH_TABLE + (((load<u32>(base + position) * HASH_MULTIPLIER) >>> hashShift) << 1);
    store<u16>(CHAIN + (position << 1), load<u16>(slot));
    store<u16>(slot, (position + 1) as u16);
  }
}

/** The number of equal bytes before `a` and `b`, at most `limit`. May read seven bytes before the first of them. */
// @ts-ignore: decorator
@inline
function commonBefore(a: usize, b: usize, limit: usize): usize {
  let length: usize = 0;
  while (length < limit) {
    const difference = load<u64>(a - length - 8) ^ load<u64>(b - length - 8);
    if (difference != 0) return min(length + ((clz(difference) >> 3) as usize), limit);
    length += 8;
  }
  return limit;
}

/** Leaves the longest match at each position where one may start: its length above 16 bits of its distance, or 0. */
function findMatches(base: usize, size: usize, attempts: u32): void {
  const starts = size - MATCH_MARGIN + 1;
  const matchEnd = size - LAST_LITERALS;
  memory.fill(MATCHES, 0, size << 2);
  let best: u32 = 0; // where the match goes on to, above its distance: the farther, the larger
  let searched: usize = ~(0 as usize);
  for (let at: usize = 0; at < starts; at++) {
    best = max(best, load<u32>(MATCHES + (at << 2)));
    let end = (best >>> 16) as usize;
    while (end < matchEnd && end < at + LONG) {
      const pivot = max(at + 3, end) - 3;
      if (pivot == searched) break;
      searched = pivot;
      let candidate = load<u16>(CHAIN + (pivot << 1)) as usize;
      let tries = attempts;
      while (candidate != 0) {
        candidate--;
        const back = pivot - candidate;
        const news = base + max(end, pivot + 3) - 3;
        if (load<u32>(news - back) == load<u32>(news)) {
          const from = base + pivot;
          const reach = pivot + commonLength(from, from - back, base + matchEnd);
          if (reach > end && reach >= pivot + MIN_MATCH) {
            const start = pivot - commonBefore(from, from - back, min(pivot - at, candidate));
            const found = ((reach << 16) | back) as u32;
            if (start == at) {
              best = found;
              end = reach;
              if (end == matchEnd) break;
            } else {
              const there = MATCHES + (start << 2);
              store<u32>(there, max(load<u32>(there), found));
            }
          }
        }
        if (--tries == 0) break;
        candidate = load<u16>(CHAIN + (candidate << 1)) as usize;
      }
    }
    store<u32>(MATCHES + (at << 2), end >= at + MIN_MATCH ? best - ((at << 16) as u32) : 0);
  }
}

/** Bytes of a match but for its token's share: token, offset, and what goes on after a nibble of 15. */
// @ts-ignore: decorator
@inline
function matchCost(length: usize): usize {
  return length <= TOKEN_MATCH ? 3 : 4 + (length - TOKEN_MATCH - 1) / 255;
}

/** Leaves at each position the match to take there, 0 for a literal. */
function chooseMatches(size: usize): void {
  let literals = MATCH_MARGIN - 1; // that follow one another from the position on
  for (let position = size - literals; position <= size; position++) store<u32>(COST + (position << 2), (size - position) as u32);
  let next = literals;
  for (let position = size - MATCH_MARGIN; position != ~(0 as usize); position--) {
    literals++;
    let cost = next + 1;
    if (literals >= NIBBLE && (literals - NIBBLE) % 255 == 0) cost++;
    const match = load<u32>(MATCHES + (position << 2));
    if (match != 0) {
      const longest = (match >>> 16) as usize;
      let taken: u32 = 0;
      let other = (load<u32>(COST + ((position + longest) << 2)) as usize) + matchCost(longest);
      if (other < cost) {
        cost = other;
        taken = match;
      }
      if (longest > TOKEN_MATCH) {
        other = (load<u32>(COST + ((position + TOKEN_MATCH) << 2)) as usize) + 3;
        if (other < cost) {
          cost = other;
          taken = (match & 0xffff) | ((TOKEN_MATCH << 16) as u32);
        }
      }
      if (taken != 0) literals = 0;
      store<u32>(MATCHES + (position << 2), taken);
    }
    store<u32>(COST + (position << 2), cost as u32);
    next = cost;
  }
}

/** The sequences of the matches that are taken; returns the address after the last. */
function writeSequences(base: usize, size: usize, to: usize): usize {
  const starts = size - MATCH_MARGIN + 1;
  let anchor: usize = 0;
  let at: usize = 0;
  while (at < starts) {
    const match = load<u32>(MATCHES + (at << 2));
    if (match == 0) {
      at++;
      continue;
    }
    const length = (match >>> 16) as usize;
    const literals = at - anchor;
    const more = length - MIN_MATCH;
    store<u8>(to++, ((min(literals, NIBBLE) << 4) | min(more, NIBBLE)) as u8);
    if (literals >= NIBBLE) to = extendLength(to, literals - NIBBLE);
    copy(to, base + anchor, literals);
    to += literals;
    store<u16>(to, match as u16);
    to += 2;
    if (more >= NIBBLE) to = extendLength(to, more - NIBBLE);
    at += length;
    anchor = at;
  }
  return finish(to, base + anchor, base + size);
}
