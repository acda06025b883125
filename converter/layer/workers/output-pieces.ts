/** Output that comes in parts of any length, put together in the pieces of a ring that others read. */
import { type InflateRing, ringPiece } from '../../../formats/kernels/inflate.ts';

/** V8 copies into shared memory by single bytes, an eighth as fast, unless both sides are aligned alike to so many bytes. */
const WORD = 8;
/** Bytes for which another message costs less than to copy slowly. */
const LONG = 1 << 14;

/** Fills one piece after another and hands out what is in it when it is full. */
export class OutputPieces {
  readonly #ring: InflateRing;
  readonly #onOutput: (bytes: Uint8Array) => void;
  #number = 0;
  #piece: Uint8Array;
  /** Bytes of the piece that were handed out, and that are filled. */
  #handed = 0;
  #filled = 0;

  /** `onOutput` gets views of the ring's memory. */
  constructor(ring: InflateRing, onOutput: (bytes: Uint8Array) => void) {
    this.#ring = ring;
    this.#onOutput = onOutput;
    this.#piece = this.#enter(0);
  }

  /** Copies `bytes` behind what is there; waits for pieces that others still read. */
  write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      const left = bytes.length - from;
      const shift = (bytes.byteOffset + from - this.#piece.byteOffset - this.#filled) & (WORD - 1);
      if (shift !== 0 && left >= LONG && this.#piece.length - this.#filled > LONG) {
        this.flush();
        this.#filled += shift;
        this.#handed = this.#filled;
      }
      const count = Math.min(left, this.#piece.length - this.#filled);
      this.#piece.set(bytes.subarray(from, from + count), this.#filled);
      this.#filled += count;
      from += count;
      if (this.#filled === this.#piece.length) {
        this.flush();
        this.#number = (this.#number + 1) % this.#ring.pieces;
        this.#piece = this.#enter(this.#number);
      }
    }
  }

  /** Hands out what was not yet. */
  flush(): void {
    if (this.#filled > this.#handed) this.#onOutput(this.#piece.subarray(this.#handed, this.#filled));
    this.#handed = this.#filled;
  }

  #enter(number: number): Uint8Array {
    this.#ring.waitUntilFree(number);
    this.#handed = 0;
    this.#filled = 0;
    return ringPiece(this.#ring, number);
  }
}
