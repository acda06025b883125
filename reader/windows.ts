/** Reads of a blob of which some parts were fetched beforehand. */

/** Answers exactly `length` bytes from `offset` on. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** The parts of a blob that were fetched, and a way to the others. */
export class Windows {
  readonly #read: ReadAt;
  readonly #windows: { readonly offset: number; readonly bytes: Uint8Array }[] = [];

  constructor(read: ReadAt) {
    this.#read = read;
  }

  /** Fetches a part for reads to come, unless earlier parts hold all of it. */
  async prefetch(offset: number, length: number): Promise<void> {
    const missing = this.#missing(offset, offset + length);
    if (missing.end <= missing.start) return;
    const bytes = await this.#read(missing.start, missing.end - missing.start);
    this.#windows.push({ offset: missing.start, bytes });
  }

  /** `length` bytes from `offset` on, of what was fetched before where it holds them all. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const end = offset + length;
    const window = this.#windows.find((known) => known.offset <= offset && end <= known.offset + known.bytes.length);
    if (window !== undefined) return window.bytes.subarray(offset - window.offset, end - window.offset);
    const { start, end: stop } = this.#missing(offset, end);
    if (start === offset && stop === end) return this.#read(offset, length);
    // Part of it is here: fetch the rest and put the two together.
    const bytes = new Uint8Array(length);
    if (stop > start) bytes.set(await this.#read(start, stop - start), start - offset);
    if (start > offset) bytes.set(await this.read(offset, start - offset), 0);
    if (stop < end) bytes.set(await this.read(stop, end - stop), stop - offset);
    return bytes;
  }

  /** The range without what windows hold at its two ends. */
  #missing(from: number, to: number): { readonly start: number; readonly end: number } {
    let start = from;
    let end = to;
    for (let changed = true; changed && start < end; ) {
      changed = false;
      for (const { offset, bytes } of this.#windows) {
        const stop = offset + bytes.length;
        if (offset <= start && start < stop) {
          start = Math.min(end, stop);
          changed = true;
        }
        if (offset < end && end <= stop && start < end) {
          end = Math.max(start, offset);
          changed = true;
        }
      }
    }
    return { start, end };
  }
}
