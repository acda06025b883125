/**
 * LZ4 block compression in batches, each block followed by its salted CRC-32C (docs/formats.md §2).
 *
 * The match finder takes the same decisions as liblz4 1.9.4's LZ4_compress_default on inputs below 64 KiB + 11 (16-bit
 * positions, 2^13 slots, acceleration 1), so the blocks are the same bytes: ZFiles can equal the reference's.
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
  SALT,
  SLOT_BYTES,
} from './lz4-block.ts';

const HASH_BYTES: usize = 1 << 14;
const HASH_SHIFT: u32 = 32 - 13;

/** After 2^6 positions without a match the search steps by two, after 2^6 more by three, and so on. */
const SKIP_TRIGGER: u32 = 6;

makeCrcTables();

/** Compresses the first `length` bytes of a slot's input in blocks of `blockSize`; returns the bytes of output. */
export function compress(slot: usize, length: usize, blockSize: usize): usize {
  const base = FIRST_SLOT + slot * SLOT_BYTES;
  let to = base + OUTPUT;
  let entry = base + LENGTHS;
  const end = base + INPUT + length;
  for (let from = base + INPUT; from < end; from += blockSize) {
    const size = min(blockSize, end - from);
    const after = compressBlock(from, size, to);
    store<u32>(after, crc32c(to, after - to, SALT));
    store<u32>(entry, (after - to + 4) as u32);
    entry += 4;
    to = after + 4;
  }
  return to - base - OUTPUT;
}

/** Writes the checksum of each of the first `blocks` blocks of a slot, which another compressor put there with room for it. */
export function seal(slot: usize, blocks: usize): void {
  const base = FIRST_SLOT + slot * SLOT_BYTES;
  let entry = base + LENGTHS;
  let from = base + OUTPUT;
  for (const end = entry + (blocks << 2); entry < end; entry += 4) {
    const size = (load<u32>(entry) as usize) - 4;
    store<u32>(from + size, crc32c(from, size, SALT));
    from += size + 4;
  }
}

// @ts-ignore: decorator
@inline
function slotOf(at: usize): usize {
  return HASH_TABLE + (((load<u32>(at) * HASH_MULTIPLIER) >>> HASH_SHIFT) << 1);
}

function compressBlock(base: usize, size: usize, to: usize): usize {
  const end = base + size;
  if (size <= MATCH_MARGIN) return finish(to, base, end);
  memory.fill(HASH_TABLE, 0, HASH_BYTES);

  const lastStart = end - MATCH_MARGIN + 1; // first position too late for a match to start
  const matchEnd = end - LAST_LITERALS;
  let anchor = base; // first byte not yet encoded
  let at = base + 1; // position 0 is in every slot of the empty table
  let nextSlot = slotOf(at);

  while (true) {
    let match: usize;
    let ahead = at;
    let step: usize = 1;
    let tries: u32 = 1 << SKIP_TRIGGER;
    while (true) {
      const slot = nextSlot;
      at = ahead;
      ahead += step;
      step = tries++ >>> SKIP_TRIGGER;
      if (ahead > lastStart) return finish(to, anchor, end);
      match = base + load<u16>(slot);
      nextSlot = slotOf(ahead);
      store<u16>(slot, (at - base) as u16);
      if (load<u32>(match) == load<u32>(at)) break;
    }
    while (at > anchor && match > base && load<u8>(at - 1) == load<u8>(match - 1)) {
      at--;
      match--;
    }

    let token = to++;
    const literals = at - anchor;
    if (literals >= NIBBLE) {
      store<u8>(token, (NIBBLE << 4) as u8);
      to = extendLength(to, literals - NIBBLE);
    } else {
      store<u8>(token, (literals << 4) as u8);
    }
    copy(to, anchor, literals);
    to += literals;

    while (true) {
      store<u16>(to, (at - match) as u16);
      to += 2;
      const more = commonLength(at + MIN_MATCH, match + MIN_MATCH, matchEnd);
      at += more + MIN_MATCH;
      if (more >= NIBBLE) {
        store<u8>(token, load<u8>(token) | (NIBBLE as u8));
        to = extendLength(to, more - NIBBLE);
      } else {
        store<u8>(token, load<u8>(token) | (more as u8));
      }
      anchor = at;
      if (at >= lastStart) return finish(to, anchor, end);

      store<u16>(slotOf(at - 2), (at - 2 - base) as u16);
      const slot = slotOf(at);
      match = base + load<u16>(slot);
      store<u16>(slot, (at - base) as u16);
      if (load<u32>(match) != load<u32>(at)) break;
      token = to++;
      store<u8>(token, 0);
    }
    at++;
    nextSlot = slotOf(at);
  }
}
