/** A set of sectors of a file, a bit for each: 25 MB for 100 GB of data. */

/** See the module's comment. */
export class SectorSet {
  readonly #bits: Uint8Array;

  /** `size`: sectors of the file. */
  constructor(size: number) {
    this.#bits = new Uint8Array(Math.ceil(size / 8));
  }

  /** Whether a sector is in the set. */
  has(sector: number): boolean {
    return (this.#bits[Math.floor(sector / 8)]! & (1 << (sector % 8))) !== 0;
  }

  /** Adds a sector; false if it was there. */
  add(sector: number): boolean {
    if (this.has(sector)) return false;
    this.#bits[Math.floor(sector / 8)]! |= 1 << (sector % 8);
    return true;
  }

  /** Adds the sectors `from` to `to` (exclusive). */
  addAll(from: number, to: number): void {
    const firstByte = Math.ceil(from / 8);
    const lastByte = Math.floor(to / 8);
    if (firstByte < lastByte) this.#bits.fill(0xff, firstByte, lastByte);
    for (let at = from; at < Math.min(firstByte * 8, to); at++) this.add(at);
    for (let at = Math.max(lastByte * 8, from); at < to; at++) this.add(at);
  }

  /** Whether any of the sectors `from` to `to` (exclusive), both multiples of 8, is in the set. */
  hasAny(from: number, to: number): boolean {
    for (let byte = from / 8; byte < to / 8; byte++) if ((this.#bits[byte] ?? 0) !== 0) return true;
    return false;
  }
}
