/**
 * The input of the inflate kernel, read bit by bit from the lowest of each byte (RFC 1951 §3.1.1). Between calls less
 * than a byte of bits is held, all of it from the byte before {@link input}.
 */

/** First byte not yet consumed; a byte of which bits are left counts as consumed. */
export let input: usize = 0;
/** Behind the last byte of input. */
export let inputEnd: usize = 0;
/** Bits taken from the input and not used yet; above {@link bitCount} there may be bits of the next byte already. */
export let bits: u64 = 0;
/** The number of bits in the buffer. */
export let bitCount: u64 = 0;

/** Where input starts and ends. */
export function placeInput(start: usize, end: usize): void {
  input = start;
  inputEnd = end;
}

/** Sets the bits that come before the input. */
export function holdBits(value: u64, count: u64): void {
  bits = value;
  bitCount = count;
}

/** Takes up where a loop with its own copy of the state left it. */
export function storeBits(at: usize, held: u64, count: u64): void {
  input = at;
  bits = held;
  bitCount = count;
}

/** Passes over whole bytes of input; no bits are held. */
export function advance(by: usize): void {
  input += by;
}

// @ts-ignore: decorator
@inline
/** The next `count` bits as a number. */
export function take(count: u64): u32 {
  const value = bits & (((1 as u64) << count) - 1);
  bits >>= count;
  bitCount -= count;
  return value as u32;
}

// @ts-ignore: decorator
@inline
/** Fills the buffer to at least 56 bits, without a branch: what is above the count is loaded again next time. */
export function refill(): void {
  bits |= load<u64>(input) << bitCount;
  input += (7 - ((bitCount >> 3) & 7)) as usize;
  bitCount |= 56;
}

/** Gives whole unused bytes back to the input. Only the low six bits of the count are looked at. */
export function giveBack(): void {
  bitCount &= 63;
  input -= (bitCount >> 3) as usize;
  bitCount &= 7;
  bits &= ((1 as u64) << bitCount) - 1;
}
