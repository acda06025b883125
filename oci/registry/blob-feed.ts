/** Divides a blob's content into slices, which are the bodies of an upload's requests. */

import type { BlobSource } from '../../base/byte-source.ts';
import { type AccelError, asAccelError } from '../../base/error.ts';
import type { Descriptor } from '../descriptor.ts';
import { verified } from '../digest.ts';

/**
 * Slices of verified content. Consecutive slices come from one reading of the source. Any other slice starts a new
 * reading and skips the bytes before it, so nothing is kept in memory for a retry. The content is verified as a whole:
 * wrong content fails before its last byte is handed out.
 */
export class BlobFeed {
  readonly #content: BlobSource;
  readonly #descriptor: Descriptor;
  #failure: AccelError | undefined;
  /** The reading that the next slice can go on with; absent while a slice is being read, or after one broke off. */
  #idle: Reading | undefined;
  #current: Reading | undefined;

  constructor(content: BlobSource, descriptor: Descriptor) {
    this.#content = content;
    this.#descriptor = descriptor;
  }

  /** The failure of the source, if it failed: HTTP only sees a body that stopped. */
  get failure(): AccelError | undefined {
    return this.#failure;
  }

  /** The bytes from `start` (inclusive) to `end` (exclusive), which must lie within the content. */
  slice(start: number, end: number): BlobSource {
    return { open: () => this.#read(start, end) };
  }

  /** Closes the source. */
  async close(): Promise<void> {
    const open = this.#current;
    this.#idle = undefined;
    this.#current = undefined;
    // A reading that is waiting for a piece ends when it arrives; that is not awaited.
    open?.pieces.return(undefined).catch(() => undefined);
  }

  async *#read(start: number, end: number): AsyncGenerator<Uint8Array, void, undefined> {
    const reading = await this.#readingAt(start);
    try {
      while (reading.position < end) {
        let piece = reading.rest;
        reading.rest = undefined;
        if (piece === undefined) {
          const next = await reading.pieces.next();
          if (next.done) return;
          piece = next.value;
        }
        // Bytes before the slice were sent by an earlier try.
        const from = Math.min(Math.max(start - reading.position, 0), piece.length);
        const to = Math.min(end - reading.position, piece.length);
        if (to < piece.length) reading.rest = piece.subarray(to);
        reading.position += to;
        if (to > from) yield piece.subarray(from, to);
      }
      if (this.#current === reading) this.#idle = reading;
    } catch (error) {
      if (this.#current === reading) this.#failure = asAccelError(error);
      throw error;
    }
  }

  async #readingAt(start: number): Promise<Reading> {
    const idle = this.#idle;
    this.#idle = undefined;
    if (idle?.position === start) return idle;
    await this.close();
    const pieces = verified(this.#content.open(), this.#descriptor);
    this.#current = { pieces, position: 0, rest: undefined };
    return this.#current;
  }
}

/** One pass over the source. */
interface Reading {
  readonly pieces: AsyncGenerator<Uint8Array, void, undefined>;
  /** Bytes handed out or passed over. */
  position: number;
  /** The unused rest of the last piece. */
  rest: Uint8Array | undefined;
}
