/** Sorting by 32-bit numbers in linear time, whatever the numbers are. */

const DIGIT_BITS = 11;
const DIGITS = 1 << DIGIT_BITS;

/** Positions of `keys` (the first `count` of them) in ascending order of the keys; equal keys keep their order. */
export function orderOf(keys: Uint32Array, count: number = keys.length): Uint32Array {
  let order = new Uint32Array(count);
  let sorted = true;
  for (let i = 0; i < count; i++) {
    order[i] = i;
    if (i > 0 && keys[i - 1]! > keys[i]!) sorted = false;
  }
  if (sorted) return order;
  let other = new Uint32Array(count);
  const starts = new Uint32Array(DIGITS);
  for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
    starts.fill(0);
    for (let i = 0; i < count; i++) starts[(keys[i]! >>> shift) & (DIGITS - 1)]!++;
    for (let digit = 0, sum = 0; digit < DIGITS; digit++) {
      const size = starts[digit]!;
      starts[digit] = sum;
      sum += size;
    }
    for (let i = 0; i < count; i++) {
      const position = order[i]!;
      other[starts[(keys[position]! >>> shift) & (DIGITS - 1)]!++] = position;
    }
    [order, other] = [other, order];
  }
  return order;
}

/** A growing list of unsigned 32-bit numbers. */
export class NumberList {
  #values = new Uint32Array(256);
  #count = 0;

  /** Numbers so far. */
  get count(): number {
    return this.#count;
  }

  /** Number `i`. */
  at(i: number): number {
    return this.#values[i]!;
  }

  /** Appends a number. */
  push(value: number): void {
    if (this.#count === this.#values.length) {
      const wider = new Uint32Array(this.#count * 2);
      wider.set(this.#values);
      this.#values = wider;
    }
    this.#values[this.#count++] = value;
  }

  /** Takes all numbers out and lets go of large memory. */
  clear(): void {
    this.#count = 0;
    if (this.#values.length > 4096) this.#values = new Uint32Array(256);
  }

  /** The numbers: a view, valid until the next {@link push}. */
  get values(): Uint32Array {
    return this.#values.subarray(0, this.#count);
  }
}
