/**
 * A blob, or a range of it, for one client: pieces in order, fetched ahead of where the client reads, and checked as a whole
 * before the last byte leaves.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { PIECE_BYTES, pieceCount } from '../../formats/piece-list/piece-list.ts';
import { Slots } from './limits.ts';
import type { PieceFetcher } from './pieces/fetch-piece.ts';
import { type OriginBlob, OriginFailure } from './pieces/origin.ts';
import { type ByteRange, type Piece, piecesOf } from './pieces/piece.ts';
import { hashPiece } from './pieces/piece-file.ts';
import { DIRECT, STREAM } from './urgency.ts';

/** Pieces ahead of a client: at its start, and at most. */
const FIRST_WINDOW = 4;
const LAST_WINDOW = 32;
/** Milliseconds: a piece that comes sooner widens the window, one that takes longer narrows it, so that a slow origin is not asked for everything at once. */
const QUICK = 2_000;
const SLOW = 8_000;
/** Pieces in flight on a node for all its clients. */
const IN_FLIGHT = 64;
/** Milliseconds without anything coming for a blob after which a client is not kept waiting. */
const PATIENCE = 30_000;
/** Hashes of verified blobs kept, of all blobs together. */
const HASHES_KEPT = 200_000;

/** A client's wish. */
export interface StreamRequest {
  readonly blob: OriginBlob;
  /** The bytes that are wanted; the whole blob where it is the whole. */
  readonly range: ByteRange;
  /** Few bytes that somebody waits for: owners are asked directly, nothing is read ahead. */
  readonly direct?: boolean;
  /** Hashes that the pieces must have ({@link BlobStreams.verify}). */
  readonly check?: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

/** The digest of a blob was wrong: the client must not get the last piece. */
export class WrongDigest extends Error {
  override readonly name = 'WrongDigest';
}

/** Makes streams for the clients of one node. */
export class BlobStreams {
  readonly #fetcher: PieceFetcher;
  readonly #patience: number;
  readonly #inFlight = new Slots(IN_FLIGHT);
  readonly #verified = new LRUCache<string, readonly string[]>({
    maxSize: HASHES_KEPT,
    sizeCalculation: (hashes) => Math.max(1, hashes.length),
  });

  constructor(fetcher: PieceFetcher, patience = PATIENCE) {
    this.#fetcher = fetcher;
    this.#patience = patience;
  }

  /**
   * Reads a whole blob and throws it away: the hashes of its pieces, once its digest was right, by which it can be read again
   * without a doubt. Throws as {@link read}.
   */
  async verify(blob: OriginBlob, signal: AbortSignal): Promise<readonly string[]> {
    const known = this.#verified.get(blob.digest);
    if (known !== undefined) return known;
    const hashes: string[] = [];
    for await (const chunk of this.read({ blob, range: { start: 0, end: blob.size }, signal }))
      hashes.push(hashPiece(chunk));
    this.#verified.set(blob.digest, hashes);
    return hashes;
  }

  /**
   * The bytes of a range, a chunk a piece. Throws {@link WrongDigest} instead of the last chunk when the whole blob was wanted
   * and its digest is wrong, an OriginFailure where a piece cannot be had, and the signal's reason.
   */
  async *read({ blob, range, direct = false, check, signal }: StreamRequest): AsyncGenerator<Buffer> {
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
        const { bytes, sha256 } = await this.#inTurn(ahead.shift()!, blob.digest);
        fill();
        if (check !== undefined && check[index] !== sha256) {
          await this.#fetcher.quarantine(blob.digest);
          throw new WrongDigest(`piece ${index} has changed since the blob was checked`);
        }
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

  /** The piece that the client waits for now, unless nothing comes for too long. */
  async #inTurn(piece: Promise<Piece>, digest: string): Promise<Piece> {
    let timer: NodeJS.Timeout | undefined;
    let seen = this.#fetcher.progress(digest);
    const still = new Promise<never>((_, reject) => {
      timer = setInterval(() => {
        const now = this.#fetcher.progress(digest);
        if (now === seen) reject(new OriginFailure(0, `nothing came for ${this.#patience} ms`));
        seen = now;
      }, this.#patience);
    });
    try {
      return await Promise.race([piece, still]);
    } finally {
      clearInterval(timer);
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
    const urgency = direct ? DIRECT : STREAM;
    const fetched = this.#inFlight
      .run(
        async () => {
          const started = performance.now();
          const piece = await this.#fetcher.get(blob, index, { direct, urgency, signal });
          window.took(performance.now() - started);
          return piece;
        },
        { urgency, signal },
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
