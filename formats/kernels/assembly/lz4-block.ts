/** Shared by both LZ4 kernels: the places of a batch in their memory, and the writing of sequences. */

// Memory, fixed: formats/kernels/lz4.ts knows it too. The tables are at constant addresses (one more live variable in the
// loops costs a tenth of the speed); after them come slots, each for a batch that others fill and read.
/** 2^15 words of 16 bits: the hash table of whichever kernel runs. */
export const HASH_TABLE: usize = 0x8000;
/** Facts that the thorough kernel (lz4-high.ts) keeps of each position of a block, to the first slot. */
export const POSITIONS: usize = 0x18000;
/** Where the first slot begins. */
export const FIRST_SLOT: usize = 0xc0000;
/** Bytes of a slot: the room for one batch. */
export const SLOT_BYTES: usize = 0x238000;
/** Within a slot: 256 words, the bytes of each block with its checksum. */
export const LENGTHS: usize = 0;
/** Within a slot: 1 MiB, then slack for reads that overrun. */
export const INPUT: usize = 0x4000;
/** Within a slot: 1 MiB, what incompressible blocks grow, and slack. */
export const OUTPUT: usize = 0x114000;

/** Multiplies four bytes, whose upper bits are the hash then. */
export const HASH_MULTIPLIER: u32 = 2654435761;
/** Bytes of the shortest match. */
export const MIN_MATCH: usize = 4;
/** A block shorter than this is literals only, and no match starts in the last 12 bytes of a block. */
export const MATCH_MARGIN: usize = 12;
/** The last five bytes of a block are always literals. */
export const LAST_LITERALS: usize = 5;
/** The length in half a token that says that more bytes of it follow. */
export const NIBBLE: usize = 15;
/** The register that a block's CRC-32C starts with. */
export const SALT: u32 = 100007;

// @ts-ignore: decorator
@inline
/** Copies sixteen bytes at a time; may overrun the target by fifteen. */
export function copy(to: usize, from: usize, length: usize): void {
  const end = to + length;
  do {
    v128.store(to, v128.load(from));
    to += 16;
    from += 16;
  } while (to < end);
}

/** The bytes that continue a length nibble of 15: 255 each, then the rest. Returns the address after the last. */
export function extendLength(to: usize, rest: usize): usize {
  while (rest >= 255) {
    store<u8>(to++, 255);
    rest -= 255;
  }
  store<u8>(to, rest as u8);
  return to + 1;
}

// @ts-ignore: decorator
@inline
/** The number of equal bytes at `a` and `b`, `a` not going past `limit`. May read seven bytes past it. */
export function commonLength(a: usize, b: usize, limit: usize): usize {
  const start = a;
  while (a < limit) {
    const difference = load<u64>(a) ^ load<u64>(b);
    if (difference != 0) return min(a - start + ((ctz(difference) >> 3) as usize), limit - start);
    a += 8;
    b += 8;
  }
  return limit - start;
}

/** The last sequence: literals only. */
export function finish(to: usize, anchor: usize, end: usize): usize {
  const literals = end - anchor;
  if (literals >= NIBBLE) {
    store<u8>(to, (NIBBLE << 4) as u8);
    to = extendLength(to + 1, literals - NIBBLE);
  } else {
    store<u8>(to++, (literals << 4) as u8);
  }
  memory.copy(to, anchor, literals);
  return to + literals;
}
