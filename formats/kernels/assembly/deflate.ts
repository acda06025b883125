/**
 * Deflate (RFC 1951) of what fits into one call: windows of access points, and the small archives around them.
 *
 * A window comes with a log of the bytes of it that are read later. The others may be anything, so each gets the value that
 * suits the search: a match goes on through them, whatever it finds behind.
 */
import { adler32 } from './adler32.ts';
import { alignBits, beginBits, bitsEnd, writeBlock, writeStored } from './deflate-blocks.ts';
import { addLiteral, addMatch, beginTokens, isFull } from './deflate-tokens.ts';

// Memory, fixed: formats/kernels/deflate.ts knows it too. The other files have what is below.
const HEADS: usize = 0x10000; // by hash: one more than the last position that has it, 32 bits; 0 for none
const MAX_HASH_BITS: u32 = 15;
const WINDOW_HASH_BITS: u32 = 13;
const BEFORE: usize = 0x30000; // by the low 15 bits of a position: bytes back to the one before with its hash, 16 bits; 0 for none
const MASK: usize = 0x60000; // 0xff for each byte that counts, 0 for one that may be anything; zeros after the last
const REFERENCES: usize = 0xa1000; // a bit for each byte of a window
const INPUT: usize = 0xb0000; // 256 KiB, and slack for reads that overrun
const OUTPUT: usize = 0xf1000;
const SLACK: usize = 64;

const WINDOW: usize = 32768;
const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 258;
/** The bytes that a hash is of. */
const THREE: u32 = 0xffffff;
const HASH_MULTIPLIER: u32 = 2654435769;
/** Earlier positions with the same hash that are looked at: in windows, which are short of what repeats, and elsewhere. */
const FEW_ATTEMPTS: u32 = 8;
const MANY_ATTEMPTS: u32 = 32;
/** A match of three bytes from farther back takes more bits than three literals. */
const NEAR: usize = 512;
/** A byte of a match is worth so many bits; the match costs those of its distance. */
const WORTH: i32 = 4;
/** A match as long as this is taken without a look at the next position. */
const GOOD_MATCH: usize = 32;
/** Less than any match is worth. */
const WORTHLESS: i32 = -100;

let isSparse: bool = false;
let attemptsAtMost: u32 = 0;
let hashShift: u32 = 0;
let end: usize = 0; // address behind the last byte
let inserted: usize = 0; // positions below this address can be found
let gapStart: usize = 0; // from here to the end of the gap no byte counts
let gapEnd: usize = 0;

// The match that find() found, and how good it is.
let foundLength: usize = 0;
let foundDistance: usize = 0;
let foundScore: i32 = 0;

/**
 * Deflates the first `length` bytes of input, at most 256 KiB, up to a whole byte: the last block is the stream's last if `isLast`,
 * otherwise others can follow. `sparse`: only bytes whose bit in the references is set count, of at most 32 KiB. Returns the
 * bytes of output; afterwards the input is what they stand for.
 */
export function deflate(length: usize, sparse: bool, isLast: bool): usize {
  isSparse = sparse;
  attemptsAtMost = sparse ? FEW_ATTEMPTS : MANY_ATTEMPTS;
  if (sparse) expandReferences(length);
  else memory.fill(MASK, 0xff, length);
  memory.fill(MASK + length, 0, SLACK);
  end = INPUT + length;
  inserted = INPUT;
  gapStart = INPUT;
  gapEnd = INPUT;
  const hashBits = length > WINDOW ? MAX_HASH_BITS : WINDOW_HASH_BITS;
  hashShift = 32 - hashBits;
  memory.fill(HEADS, 0, (4 as usize) << hashBits);

  beginBits(OUTPUT);
  let at = INPUT;
  let blockStart = at;
  beginTokens();
  while (at < end) {
    at = addToken(at);
    if (isFull() && at < end) {
      writeBlock(blockStart, at, false);
      blockStart = at;
      beginTokens();
    }
  }
  writeBlock(blockStart, end, isLast);
  if (!isLast) writeStored(end, end, false);
  alignBits();
  return bitsEnd() - OUTPUT;
}

/** Goes on with the Adler-32 `before` over the first `length` bytes of input. */
export function checksum(length: usize, before: u32): u32 {
  return adler32(INPUT, length, before);
}

/** Makes a byte of the mask of each bit, sixteen at a time. */
function expandReferences(length: usize): void {
  for (let at: usize = 0; at < length; at += 16) {
    const bits = i16x8.splat(load<i16>(REFERENCES + (at >> 3)));
    const spread = v128.and(
      v128.swizzle(bits, i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)),
      i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128),
    );
    v128.store(MASK + at, i8x16.ne(spread, i8x16.splat(0)));
  }
}

/** Adds the literal or the match at `at`, and gives the bytes that it covers their values; returns where it ends. */
function addToken(at: usize): usize {
  insertUpTo(at);
  find(at, WORTHLESS);
  const length = foundLength;
  const distance = foundDistance;
  if (length == 0) {
    if (!counts(at)) store<u8>(at, at == INPUT ? 0 : load<u8>(at - 1));
    addLiteral(load<u8>(at));
    return at + 1;
  }
  if (length < GOOD_MATCH && counts(at) && at + 1 < end) {
    insertUpTo(at + 1);
    find(at + 1, foundScore);
    if (foundLength > 0) {
      addLiteral(load<u8>(at));
      return at + 1;
    }
  }
  if (isSparse) repeat(at, distance, at + length);
  addMatch(length, distance);
  return at + length;
}

// @ts-ignore: decorator
@inline
function counts(at: usize): bool {
  return load<u8>(at + MASK - INPUT) != 0;
}

/** The first position from `at` on whose byte counts, or the end. */
function nextThatCounts(at: usize): usize {
  if (at >= gapStart && at < gapEnd) return gapEnd;
  if (counts(at)) return at;
  gapStart = at;
  gapEnd = end;
  for (; at < end; at += 8) {
    const mask = load<u64>(at + MASK - INPUT);
    if (mask != 0) {
      gapEnd = at + ((ctz(mask) >> 3) as usize);
      break;
    }
  }
  return gapEnd;
}

/** Finds a match at `at` that is better than `least`; a length of 0 says that there is no such match. */
function find(at: usize, least: i32): void {
  foundLength = 0;
  foundScore = least;
  const limit = min(end, at + MAX_MATCH);
  const next = nextThatCounts(at);
  let needed = MIN_MATCH;
  if (next > at) {
    // Repeating a byte through the gap is cheapest; other matches have to go on after it.
    if (at > INPUT) keepIfBetter(commonRepeat(at, min(next, limit), limit), 1, MIN_MATCH);
    if (next >= limit) return;
    needed = min(limit - at, next - at + MIN_MATCH);
  }
  if ((load<u32>(next + MASK - INPUT) & THREE) != THREE) return;
  const three = load<u32>(next) & THREE;
  let candidate = (load<u32>(headOf(three)) as usize) + INPUT - 1;
  for (let attempts = attemptsAtMost; candidate >= INPUT && attempts > 0; attempts--) {
    const distance = next - candidate;
    if (distance > min(WINDOW, at - INPUT)) break;
    if ((load<u32>(candidate) & THREE) == three && mayGoOn(at, distance)) {
      keepIfBetter(commonLength(at, distance, limit), distance, needed);
      if (at + foundLength == limit) return;
    }
    const before = load<u16>(placeBefore(candidate)) as usize;
    if (before == 0) return;
    candidate -= before;
  }
}

// @ts-ignore: decorator
@inline
/** Whether a match of this distance, farther than what was found, may be longer than that. */
function mayGoOn(at: usize, distance: usize): bool {
  const behind = at + foundLength;
  return load<u8>(behind) == load<u8>(behind - distance) || !counts(behind) || distance <= foundLength;
}

/** Keeps a match if it has `needed` bytes and is better than what was found. */
function keepIfBetter(length: usize, distance: usize, needed: usize): void {
  if (length < needed || (length == MIN_MATCH && distance > NEAR)) return;
  const score = WORTH * (length as i32) - (31 - clz(distance as u32));
  if (score <= foundScore) return;
  foundScore = score;
  foundLength = length;
  foundDistance = distance;
}

/**
 * Counts the bytes from `at` up to `limit` that equal those `distance` before them. Some that do not count become so, because they
 * are read again where a match overlaps itself.
 */
function commonLength(at: usize, distance: usize, limit: usize): usize {
  let to = at;
  if (distance >= 8) {
    while (to < limit) {
      const from = load<u64>(to - distance);
      const difference = (load<u64>(to) ^ from) & load<u64>(to + MASK - INPUT);
      if (difference != 0) return min(limit - at, to - at + ((ctz(difference) >> 3) as usize));
      store<u64>(to, from);
      to += 8;
    }
    return limit - at;
  }
  if (distance == 1) return commonRepeat(at, at, limit);
  // Byte by byte, since these distances are rare.
  while (to < limit) {
    const from = load<u8>(to - distance);
    if (load<u8>(to) != from) {
      if (counts(to)) return to - at;
      store<u8>(to, from);
    }
    to++;
  }
  return limit - at;
}

/** Counts the bytes from `at` up to `limit` that equal the one before them, when those up to `to` may be anything. */
function commonRepeat(at: usize, to: usize, limit: usize): usize {
  const repeated = (load<u8>(at - 1) as u64) * 0x0101010101010101;
  while (to < limit) {
    const difference = (load<u64>(to) ^ repeated) & load<u64>(to + MASK - INPUT);
    if (difference != 0) return min(limit - at, to - at + ((ctz(difference) >> 3) as usize));
    to += 8;
  }
  return limit - at;
}

/** Gives the bytes from `to` to `limit` the values of those `distance` before. */
function repeat(to: usize, distance: usize, limit: usize): void {
  if (distance == 1) {
    memory.fill(to, load<u8>(to - 1), limit - to);
    return;
  }
  if (distance >= 8) for (; to + 8 <= limit; to += 8) store<u64>(to, load<u64>(to - distance));
  for (; to < limit; to++) store<u8>(to, load<u8>(to - distance));
}

// @ts-ignore: decorator
@inline
function headOf(three: u32): usize {
  return HEADS + (((three * HASH_MULTIPLIER) >>> hashShift) << 2);
}

// @ts-ignore: decorator
@inline
function placeBefore(at: usize): usize {
  return BEFORE + (((at - INPUT) & (WINDOW - 1)) << 1);
}

/** Makes the positions before `to` known, those of three bytes that count. */
function insertUpTo(to: usize): void {
  while (inserted < to) {
    if (inserted >= gapStart && inserted < gapEnd) {
      inserted = gapEnd;
      continue;
    }
    if ((load<u32>(inserted + MASK - INPUT) & THREE) == THREE) {
      const head = headOf(load<u32>(inserted) & THREE);
      const known = load<u32>(head) as usize;
      const back = inserted - INPUT + 1 - known;
      store<u16>(placeBefore(inserted), known == 0 || back > WINDOW - 1 ? 0 : (back as u16));
      store<u32>(head, (inserted - INPUT + 1) as u32);
    }
    inserted++;
  }
}
