/**
 * The log of references into a window: which of the 32 KiB of output before a position later matches read. Two slots,
 * because an access point may still be watched when the next block boundary is (formats/gzip/access-points.ts).
 */

/** A bit for each byte of the window, 4 KiB a slot. */
const REFERENCES: usize = 0x6000;
const SLOT_BYTES: usize = 4096;
const WINDOW: usize = 32768;

let first: usize = 0; // address of the watched position of slot 0; 0: out of reach
let second: usize = 0;

/** Where the log of a slot is. */
export function logAddress(slot: u32): usize {
  return REFERENCES + (slot as usize) * SLOT_BYTES;
}

/** No match that starts at or above this address concerns a slot. */
export function watchLimit(): usize {
  return max(first, second);
}

/** Watches `position` in `slot`, with an empty log. */
export function clearReferences(slot: u32, position: usize): void {
  memory.fill(logAddress(slot), 0, SLOT_BYTES);
  if (slot == 0) first = position;
  else second = position;
}

/** Watches nothing any more. */
export function forgetWatches(): void {
  first = 0;
  second = 0;
}

/** The output moved down by `by` bytes. */
export function slideWatches(by: usize): void {
  first = first > by ? first - by : 0;
  second = second > by ? second - by : 0;
}

/** Logs that the bytes `from` to `end` are read. */
export function markReferences(from: usize, end: usize): void {
  if (from < first) mark(0, from + WINDOW - first, min(end, first) + WINDOW - first);
  if (from < second) mark(1, from + WINDOW - second, min(end, second) + WINDOW - second);
}

function mark(slot: u32, from: usize, end: usize): void {
  const base = logAddress(slot);
  const all: u64 = 0xffffffffffffffff;
  while (from < end) {
    const word = base + ((from >> 6) << 3);
    const upTo = min(end, (from | 63) + 1);
    const mask = (all << ((from & 63) as u64)) & (all >> ((64 - (((upTo - 1) & 63) + 1)) as u64));
    store<u64>(word, load<u64>(word) | mask);
    from = upTo;
  }
}
