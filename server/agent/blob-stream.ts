/**
 * A blob, or a range of it, for one client: pieces in order, fetched ahead of where the client reads, and checked as a whole
 * before the last byte leaves.
 */
import { createHash } from 'node:crypto';
import { PIECE_BYTES, pieceCount } from '../../formats/piece-list/piece-list.ts';
import { Slots } from './limits.ts';
import type { PieceFetcher } from './pieces/fetch-piece.ts';
import type { OriginBlob } from './pieces/origin.ts';
import { type ByteRange, type Piece, piecesOf } from './pieces/piece.ts';

/** Pieces ahead of a client: at its start, and at most. */
const FIRST_WINDOW = 4;
const LAST_WINDOW = 32;
/** Milliseconds: a piece that comes sooner widens the window, one that takes longer narrows it, so that a slow origin is not asked for everything at once. */
const QUICK = 2_000;
const SLOW = 8_000;
/** Pieces in flight on a node for all its clients. */
const IN_FLIGHT = 64;

/** A client's wish. */
export interface StreamRequest {
  readonly blob: OriginBlob;
  /** The bytes that are wanted; the whole blob where it is the whole. */
  readonly range: ByteRange;
  /** Few bytes that somebody waits for: owners are asked directly, nothing is read ahead. */
  readonly direct?: boolean;
  readonly signal: AbortSignal;
}

/** The digest of a blob was wrong: the client must not get the last piece. */
export class WrongDigest extends Error {
  override readonly name = 'WrongDigest';
}

/** Makes streams for the clients of one node. */
export class BlobStreams {
  readonly #fetcher: PieceFetcher;
  readonly #inFlight = new Slots(IN_FLIGHT);

  constructor(fetcher: PieceFetcher) {
    this.#fetcher = fetcher;
  }

  /**
   * The bytes of a range, a chunk a piece. Throws {@link WrongDigest} instead of the last chunk when the whole blob was wanted
   * and its digest is wrong, an OriginFailure where a piece cannot be had, and the signal's reason.
   */
  async *read({ blob, range, direct = false, signal }: StreamRequest): AsyncGenerator<Buffer> {
    const { first, end } = piecesOf(range);
    const whole = range.start === 0 && range.end === blob.size;
    const hash = whole ? createHash('sha256') : undefined;
    const window = new Window();
    const stop = new AbortController();
    const limits = AbortSignal.any([signal, stop.signal]);
    const ahead: Promise<Piece>[] = [];
    let next = first;
    const fill = () => {
      while (next < end && ahead.length < (direct ? end - first : window.size)) {
        ahead.push(this.#fetch(blob, next, { direct, signal: limits, window }));
        next += 1;
      }
    };
    try {
      for (let index = first; index < end; index++) {
        fill();
        const { bytes } = await ahead.shift()!;
        fill();
        if (hash !== undefined) {
          hash.update(bytes);
          if (index === pieceCount(blob.size) - 1) await this.#conclude(blob.digest, `sha256:${hash.digest('hex')}`);
        }
        const at = index * PIECE_BYTES;
        yield bytes.subarray(Math.max(0, range.start - at), Math.min(bytes.length, range.end - at));
      }
    } finally {
      stop.abort();
    }
  }

  async #conclude(digest: string, actual: string): Promise<void> {
    if (actual === digest) return this.#fetcher.release(digest);
    await this.#fetcher.quarantine(digest);
    throw new WrongDigest(`the blob's bytes are ${actual}`);
  }

  #fetch(
    blob: OriginBlob,
    index: number,
    { direct, signal, window }: { readonly direct: boolean; readonly signal: AbortSignal; readonly window: Window },
  ): Promise<Piece> {
    const fetched = this.#inFlight
      .run(
        async () => {
          const started = performance.now();
          const piece = await this.#fetcher.get(blob, index, { direct, signal });
          window.took(performance.now() - started);
          return piece;
        },
        { urgent: direct, signal },
      )
      // A queue without a bound refuses nobody.
      .then((piece) => piece!);
    // Whoever reads hears of it in turn; a reader that has gone hears of nothing.
    fetched.catch(() => undefined);
    return fetched;
  }
}

/** The distance to read ahead, which adapts to the origin. */
class Window {
  size = FIRST_WINDOW;

  took(milliseconds: number): void {
    if (milliseconds < QUICK) this.size = Math.min(LAST_WINDOW, this.size + 1);
    else if (milliseconds > SLOW) this.size = Math.max(FIRST_WINDOW, Math.floor(this.size / 2));
  }
}
