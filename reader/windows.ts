/** Reads of a blob of which some parts were fetched beforehand. */

import type { ReadAt } from '../base/byte-source.ts';

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

  /** Whether earlier parts hold all of these bytes. */
  holds(offset: number, length: number): boolean {
    const { start, end } = this.#missing(offset, offset + length);
    return end <= start;
  }

  /** `length` bytes from `offset` on: of what was fetched before, and the rest from the blob. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const end = offset + length;
    const whole = this.#at(offset);
    if (whole !== undefined && whole.length >= length) return whole.subarray(0, length);
    const bytes = new Uint8Array(length);
    for (let at = offset; at < end; ) {
      const known = this.#at(at)?.subarray(0, end - at);
      const piece = known ?? (await this.#read(at, Math.min(this.#nextAfter(at), end) - at));
      bytes.set(piece, at - offset);
      at += piece.length;
    }
    return bytes;
  }

  /** The bytes of a window from byte `at` on; undefined if no window has that byte. */
  #at(at: number): Uint8Array | undefined {
    const window = this.#windows.find(({ offset, bytes }) => offset <= at && at < offset + bytes.length);
    return window?.bytes.subarray(at - window.offset);
  }

  #nextAfter(at: number): number {
    return Math.min(
      ...this.#windows.map(({ offset }) => offset).filter((offset) => offset > at),
      Number.POSITIVE_INFINITY,
    );
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
