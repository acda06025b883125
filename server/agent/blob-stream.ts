/**
 * A blob, or a range of it, for one client: pieces in order, fetched ahead of where the client reads, and checked as a whole
 * before the last byte leaves.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { PIECE_BYTES, pieceCount } from '../../formats/piece-list/piece-list.ts';
import { Slots } from './limits.ts';
import { ReadAhead } from './piece-lanes.ts';
import type { PieceFetcher } from './pieces/fetch-piece.ts';
import { type OriginBlob, OriginFailure } from './pieces/origin.ts';
import { type ByteRange, type Piece, piecesOf } from './pieces/piece.ts';
import { hashPiece } from './pieces/piece-file.ts';
import { PIECE_MEMORY } from './pieces/piece-memory.ts';
import { DIRECT, STREAM } from './urgency.ts';

/** Pieces ahead of a client, fetched or asked for: at its start, and at most; one more with each that it takes. */
const FIRST_WINDOW = 8;
const LAST_WINDOW = 32;
/** Pieces in flight on a node for all its clients. */
const IN_FLIGHT = 64;
/**
 * Pieces that transfers to clients hold at once, being fetched, come, or being written: so many slow clients cannot fill the
 * memory. A transfer has its share of them, and always one.
 */
const MOST_HELD = 64;
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
  /** The layer's position in its image: lower ones come first. */
  readonly position?: number;
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
  readonly #ahead = new ReadAhead();
  #held = 0;
  #reading = 0;
  readonly #verified = new LRUCache<string, readonly string[]>({
    maxSize: HASHES_KEPT,
    sizeCalculation: (hashes) => Math.max(1, hashes.length),
  });

  constructor(fetcher: PieceFetcher, patience = PATIENCE) {
    this.#fetcher = fetcher;
    this.#patience = patience;
  }

  /** Pieces that transfers hold. */
  get held(): number {
    return this.#held;
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
   * The bytes of a range, a chunk a piece, whose memory is another piece's as soon as the next chunk is asked for, unless it is
   * held ({@link PIECE_MEMORY}). Throws {@link WrongDigest} instead of the last chunk when the whole blob was wanted
   * and its digest is wrong, an OriginFailure where a piece cannot be had, and the signal's reason.
   */
  async *read({ blob, range, direct = false, position = 0, check, signal }: StreamRequest): AsyncGenerator<Buffer> {
    const { first, end } = piecesOf(range);
    const whole = range.start === 0 && range.end === blob.size;
    const hash = whole ? createHash('sha256') : undefined;
    const stop = new AbortController();
    const limits = AbortSignal.any([signal, stop.signal]);
    const ahead: Coming[] = [];
    let next = first;
    /** Of this transfer: the pieces ahead, and the one that the client has not taken yet. */
    let own = 0;
    const fill = (window: number) => {
      const most = direct ? end - first : window;
      while (next < end && ahead.length < most && this.#mayHold(own)) {
        this.#held += 1;
        own += 1;
        ahead.push(this.#fetch(blob, next, { direct, position, signal: limits }));
        next += 1;
      }
    };
    this.#reading += 1;
    try {
      for (let index = first; index < end; index++) {
        const window = Math.min(LAST_WINDOW, FIRST_WINDOW + index - first);
        fill(window);
        const piece = await this.#inTurn(ahead.shift()!, blob);
        const { bytes, sha256 } = piece;
        fill(window);
        if (check !== undefined && check[index] !== sha256) {
          await this.#fetcher.quarantine(blob.digest);
          throw new WrongDigest(`piece ${index} has changed since the blob was checked`);
        }
        if (hash !== undefined) {
          hash.update(bytes);
          if (index === pieceCount(blob.size) - 1) await this.#conclude(blob.digest, `sha256:${hash.digest('hex')}`);
        }
        const at = index * PIECE_BYTES;
        try {
          yield bytes.subarray(Math.max(0, range.start - at), Math.min(bytes.length, range.end - at));
        } finally {
          PIECE_MEMORY.letGo(piece);
        }
        this.#held -= 1;
        own -= 1;
      }
    } finally {
      stop.abort();
      for (const { piece } of ahead) piece.then((come) => PIECE_MEMORY.letGo(come)).catch(() => undefined);
      this.#held -= own;
      this.#reading -= 1;
    }
  }

  /** Whether a transfer that holds `own` pieces may have another one. */
  #mayHold(own: number): boolean {
    return own === 0 || (this.#held < MOST_HELD && own < MOST_HELD / this.#reading);
  }

  /** The piece that the client waits for now, unless nothing comes for too long. */
  async #inTurn(coming: Coming, blob: OriginBlob): Promise<Piece> {
    // While it waits for its turn, those that come before it must get on.
    const progress = () =>
      coming.isAsked() ? this.#fetcher.progress(blob.digest) : -1 - this.#ahead.progress(blob.url.host);
    let timer: NodeJS.Timeout | undefined;
    let seen = progress();
    const still = new Promise<never>((_, reject) => {
      timer = setInterval(() => {
        const now = progress();
        if (now === seen) reject(new OriginFailure(0, `nothing came for ${this.#patience} ms`));
        seen = now;
      }, this.#patience);
    });
    try {
      return await Promise.race([coming.piece, still]);
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
    { direct, position, signal }: { readonly direct: boolean; readonly position: number; readonly signal: AbortSignal },
  ): Coming {
    const urgency = direct ? DIRECT : STREAM;
    let asked = false;
    const get = () =>
      this.#inFlight.run(
        () => {
          asked = true;
          return this.#fetcher.get(blob, index, { direct, urgency, signal });
        },
        { urgency, signal },
      );
    const running = direct ? get() : this.#ahead.run({ host: blob.url.host, position }, get, signal);
    // A queue without a bound refuses nobody.
    const piece = running.then((got) => got!);
    const coming = { piece, isAsked: () => asked };
    // Whoever reads hears of it in turn; a reader that has gone hears of nothing.
    piece.catch(() => undefined);
    return coming;
  }
}

/** A piece on its way to a client. */
interface Coming {
  readonly piece: Promise<Piece>;
  /** Whether its turn has come. */
  isAsked(): boolean;
}
