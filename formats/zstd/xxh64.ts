/**
 * XXH64 with seed 0, whose low half is the content checksum of a zstd frame (RFC 8878 §3.1.1). Stripes run in pairs of
 * 32-bit halves, which is ten times as fast as bigint; what is left at the end does not matter and is bigint.
 */
import { viewOf } from '../bytes/struct.ts';

const STRIPE = 32;
const LANES = 4;
const PRIME_1 = 0x9e37_79b1_85eb_ca87n;
const PRIME_2 = 0xc2b2_ae3d_27d4_eb4fn;
const PRIME_3 = 0x1656_67b1_9e37_79f9n;
const PRIME_4 = 0x85eb_ca77_c2b2_ae63n;
const PRIME_5 = 0x27d4_eb2f_1656_67c5n;
const P1_HIGH = 0x9e37_79b1 | 0;
const P1_LOW = 0x85eb_ca87 | 0;
const P2_HIGH = 0xc2b2_ae3d | 0;
const P2_LOW = 0x27d4_eb4f | 0;

const low64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const rotate = (value: bigint, bits: bigint): bigint => low64((value << bits) | (value >> (64n - bits)));
const round = (lane: bigint, input: bigint): bigint => low64(rotate(low64(lane + input * PRIME_2), 31n) * PRIME_1);

/** Hashes bytes that come in pieces of any size. */
export class Xxh64 {
  readonly #high = new Int32Array(LANES);
  readonly #low = new Int32Array(LANES);
  readonly #rest = new Uint8Array(STRIPE);
  #restLength = 0;
  #length = 0n;

  constructor() {
    const start = [low64(PRIME_1 + PRIME_2), PRIME_2, 0n, low64(-PRIME_1)];
    for (const [lane, value] of start.entries()) {
      this.#high[lane] = Number(value >> 32n) | 0;
      this.#low[lane] = Number(value & 0xffff_ffffn) | 0;
    }
  }

  /** Takes the next bytes. */
  update(bytes: Uint8Array): void {
    this.#length += BigInt(bytes.length);
    let from = 0;
    if (this.#restLength > 0) {
      from = Math.min(STRIPE - this.#restLength, bytes.length);
      this.#rest.set(bytes.subarray(0, from), this.#restLength);
      this.#restLength += from;
      if (this.#restLength < STRIPE) return;
      this.#stripes(this.#rest);
      this.#restLength = 0;
    }
    const whole = (bytes.length - from) % STRIPE;
    const end = bytes.length - whole;
    if (end > from) this.#stripes(bytes.subarray(from, end));
    this.#rest.set(bytes.subarray(end));
    this.#restLength = whole;
  }

  /** The hash of all bytes so far. */
  digest(): bigint {
    let hash = low64(this.#converge() + this.#length);
    const view = viewOf(this.#rest);
    let at = 0;
    for (; at + 8 <= this.#restLength; at += 8)
      hash = low64(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * PRIME_1 + PRIME_4);
    if (at + 4 <= this.#restLength) {
      hash = low64(rotate(hash ^ low64(BigInt(view.getUint32(at, true)) * PRIME_1), 23n) * PRIME_2 + PRIME_3);
      at += 4;
    }
    for (; at < this.#restLength; at++)
      hash = low64(rotate(hash ^ low64(BigInt(this.#rest[at]!) * PRIME_5), 11n) * PRIME_1);
    hash = low64((hash ^ (hash >> 33n)) * PRIME_2);
    hash = low64((hash ^ (hash >> 29n)) * PRIME_3);
    return hash ^ (hash >> 32n);
  }

  #converge(): bigint {
    if (this.#length < STRIPE) return PRIME_5;
    const lanes = Array.from(this.#high, (high, i) => (BigInt(high >>> 0) << 32n) | BigInt(this.#low[i]! >>> 0));
    let hash = lanes.reduce((sum, lane, i) => sum + rotate(lane, [1n, 7n, 12n, 18n][i]!), 0n);
    for (const lane of lanes) hash = low64((low64(hash) ^ round(0n, lane)) * PRIME_1 + PRIME_4);
    return hash;
  }

  /** Runs {@link round} over whole stripes. */
  #stripes(bytes: Uint8Array): void {
    const view = viewOf(bytes);
    for (let lane = 0; lane < LANES; lane++) {
      let high = this.#high[lane]!;
      let low = this.#low[lane]!;
      for (let at = lane * 8; at < bytes.length; at += STRIPE) {
        const inputLow = view.getInt32(at, true);
        const inputHigh = view.getInt32(at + 4, true);
        const sumLow = low + Math.imul(inputLow, P2_LOW);
        const product = mulHigh(inputLow, P2_LOW) + Math.imul(inputHigh, P2_LOW) + Math.imul(inputLow, P2_HIGH);
        const newLow = sumLow | 0;
        const carry = newLow >>> 0 < low >>> 0 ? 1 : 0;
        const newHigh = (high + product + carry) | 0;
        const turnedHigh = (newHigh << 31) | (newLow >>> 1);
        const turnedLow = (newLow << 31) | (newHigh >>> 1);
        low = Math.imul(turnedLow, P1_LOW);
        high = (mulHigh(turnedLow, P1_LOW) + Math.imul(turnedHigh, P1_LOW) + Math.imul(turnedLow, P1_HIGH)) | 0;
      }
      this.#high[lane] = high;
      this.#low[lane] = low;
    }
  }
}

/** The high 32 bits of the product of two unsigned 32-bit numbers. */
function mulHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const low = (Math.imul(a1, b0) >>> 0) + ((Math.imul(a0, b0) >>> 0) >>> 16);
  const middle = (Math.imul(a0, b1) >>> 0) + (low & 0xffff);
  return (Math.imul(a1, b1) + (low >>> 16) + (middle >>> 16)) | 0;
}
