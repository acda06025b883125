/**
 * Asks registries for what no peer has, each time with the credential of the client that wants it. An answer is taken only if
 * it is what was asked for: the right range, the right size, no content coding, no byte missing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AccelError } from '../../../base/error.ts';
import { PIECE_BYTES, pieceBytes } from '../../../formats/piece-list/piece-list.ts';
import { DEFAULT_RUNTIME } from '../../../http/http-options.ts';
import { sendFollowing } from '../../../http/redirects.ts';
import { type HttpRequest, type HttpResponse, Transport } from '../../../http/transport.ts';
import { Slots, type TokenBucket, unlessAborted } from '../limits.ts';
import { type Foreground, STREAM, type Urgency } from '../urgency.ts';
import { OriginFailure } from './origin-failure.ts';
import type { PieceId } from './piece.ts';
import { PIECE_MEMORY } from './piece-memory.ts';
import type { Course } from './single-flight.ts';
import type { Upstream, Upstreams } from './upstreams.ts';
import { WholeRead } from './whole-read.ts';

export { OriginFailure } from './origin-failure.ts';

/** Where a blob is at its origin, and the Authorization header to ask with. */
export interface OriginTarget {
  readonly url: URL;
  readonly authorization?: string | undefined;
}

/** A blob of known size at its origin. */
export interface OriginBlob extends OriginTarget {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

/** Time limits for an origin, in milliseconds. */
export interface OriginDeadlines {
  /** To the first byte of an answer. */
  readonly firstByte: number;
  /** Between two pieces of a body. */
  readonly stall: number;
  /** For a whole piece. */
  readonly piece: number;
}

/** The numbers of the contract (docs/agent.md). */
export const ORIGIN_DEADLINES: OriginDeadlines = { firstByte: 10_000, stall: 5_000, piece: 120_000 };

/** Requests for pieces at once, from one node to all origins. */
const MOST_AT_ONCE = 16;
/** Milliseconds before each further try of a piece. */
const RETRY_WAITS = [200, 1000];
/** A prefetch with as many bytes to come is not cut for a client. */
const NEARLY_DONE = 256 * 1024;
/** A try that brought as many bytes is not counted: the next one asks for the rest. */
const PROGRESS = 64 * 1024;
/** Pieces that wait for their turn; peers of bad faith could ask for any number. */
const MOST_WAITING = 4096;

/** Where a fetched piece goes, and when to give up. */
export interface PieceSinks {
  readonly signal?: AbortSignal | undefined;
  /** Takes the other pieces of a blob that came whole. */
  readonly onOther: (id: PieceId, bytes: Buffer) => void;
  /** The wanted piece, if it came with another one meanwhile. */
  readonly stored: () => Promise<Buffer | undefined>;
  /** Kept once the origin is asked: it may send the whole piece, so none of it is thrown away. */
  readonly course?: Course;
  /** Bytes of the piece have come. */
  readonly onBytes?: () => void;
  /** Prefetches wait behind what clients want. */
  readonly urgency?: Urgency;
}

/** Parts and settings of {@link Origin}. */
export interface OriginOptions {
  readonly upstreams: Upstreams;
  /** Bytes a second from all origins. */
  readonly bucket: TokenBucket;
  /** Counts the work of clients; prefetches pause while there is any. */
  readonly foreground?: Foreground;
  readonly deadlines?: OriginDeadlines;
  /** Milliseconds before a second try of a piece, a third, and so on. */
  readonly retryWaits?: readonly number[];
  /** Hears of bytes that came from an origin, by its host. */
  readonly onBytes?: (host: string, bytes: number) => void;
}

/** See the head of the file. */
export class Origin {
  readonly #options: OriginOptions;
  readonly #deadlines: OriginDeadlines;
  readonly #transports = new Map<string, Promise<Transport>>();
  /** Blobs that are being read whole because their origin does not know ranges. */
  readonly #whole = new Map<string, WholeRead>();
  readonly #slots = new Slots(MOST_AT_ONCE, MOST_WAITING);

  constructor(options: OriginOptions) {
    this.#options = options;
    this.#deadlines = options.deadlines ?? ORIGIN_DEADLINES;
  }

  /** Requests for pieces that wait for their turn. */
  get waiting(): number {
    return this.#slots.waiting;
  }

  /**
   * Sends a request to a configured upstream and follows its redirects; whatever status comes is the answer, its body the
   * caller's to read or discard. Throws {@link OriginFailure} with status 403 for a URL that is not to be asked, and with
   * status 0 where no answer comes.
   */
  async request(
    method: 'GET' | 'HEAD',
    target: OriginTarget,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<HttpResponse> {
    const upstream = this.#options.upstreams.byUrl(target.url);
    if (upstream === undefined) throw new OriginFailure(403, `${target.url.host} is not configured as a registry`);
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(new Error('no answer in time')), this.#deadlines.firstByte);
    const request: HttpRequest = {
      method,
      url: target.url,
      headers: { ...headers, ...(target.authorization === undefined ? {} : { authorization: target.authorization }) },
      signal: signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]),
    };
    try {
      return await sendFollowing(await this.#transport(upstream), request);
    } catch (cause) {
      signal?.throwIfAborted();
      const message = cause instanceof AccelError ? cause.message : `${target.url.host} does not answer`;
      throw new OriginFailure(cause instanceof AccelError ? 502 : 0, message, { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * The bytes of one piece. Where the origin does not know ranges, all pieces come at once: the others go to `onOther`. A
   * prefetch waits, and gives way in the middle, while clients wait. Throws {@link OriginFailure}.
   */
  async piece(blob: OriginBlob, index: number, sinks: PieceSinks): Promise<Buffer> {
    const { signal, urgency = STREAM } = sinks;
    const got = { bytes: Buffer.alloc(0), filled: 0, paid: 0, gaveWay: false };
    for (;;) {
      // Waits here rather than with a slot, which a client may want.
      await this.#options.foreground?.pass(urgency, signal);
      got.gaveWay = false;
      try {
        return await this.#inSlot(blob, index, { ...sinks, got });
      } catch (error) {
        signal?.throwIfAborted();
        if (!got.gaveWay) throw error;
      }
    }
  }

  async #inSlot(blob: OriginBlob, index: number, sinks: AttemptSinks): Promise<Buffer> {
    const { signal, got, urgency = STREAM } = sinks;
    const piece = await this.#slots.run(
      async () => {
        for (let attempt = 1; ; attempt++) {
          const before = got.filled;
          try {
            return await this.#attempt(blob, index, sinks);
          } catch (error) {
            signal?.throwIfAborted();
            if (got.gaveWay) throw error;
            const passes = error instanceof OriginFailure && isTransient(error.status);
            if (!passes || error.status !== 0) got.filled = 0;
            if (got.filled - before >= PROGRESS) attempt = 0;
            const wait = (this.#options.retryWaits ?? RETRY_WAITS)[Math.max(0, attempt - 1)];
            if (!passes || wait === undefined || sinks.course?.isAwaited() === false) throw error;
            await sleep(wait, undefined, signal === undefined ? {} : { signal });
          }
        }
      },
      { signal, urgency },
    );
    if (piece === undefined) throw new OriginFailure(503, 'too many requests to registries wait');
    return piece;
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    const transports = await Promise.allSettled(this.#transports.values());
    await Promise.all(transports.map((opened) => (opened.status === 'fulfilled' ? opened.value.close() : undefined)));
  }

  async #attempt(blob: OriginBlob, index: number, sinks: AttemptSinks): Promise<Buffer> {
    const { signal, onOther, got } = sinks;
    for (let running = this.#whole.get(blob.digest); running !== undefined; running = this.#whole.get(blob.digest)) {
      const bytes = await unlessAborted(running.piece(index), signal);
      if (bytes !== undefined) return bytes;
      const stored = await sinks.stored();
      if (stored !== undefined) return stored;
      // It has passed this piece: the next one begins when it ends.
      await unlessAborted(running.ended, signal);
    }
    const stored = await sinks.stored();
    if (stored !== undefined) return stored;
    const length = pieceBytes(blob.size, index);
    const from = index * PIECE_BYTES + got.filled;
    const to = index * PIECE_BYTES + length - 1;
    const { urgency = STREAM } = sinks;
    await this.#options.bucket.take(length - got.filled - got.paid, signal, urgency);
    got.paid = length - got.filled;
    const ending = new AbortController();
    const giveWay = () => {
      if (length - got.filled <= NEARLY_DONE) return;
      got.gaveWay = true;
      ending.abort(new Error('a client waits'));
    };
    const { foreground } = this.#options;
    if (foreground?.holds(urgency) === true) giveWay();
    const ended = foreground?.whenHeld(urgency, giveWay);
    const end = () => ending.abort(signal?.reason ?? new Error('the piece takes too long'));
    const timer = setTimeout(end, this.#deadlines.piece);
    signal?.addEventListener('abort', end, { once: true });
    let whole: WholeRead | undefined;
    let response: HttpResponse | undefined;
    sinks.course?.keep();
    try {
      response = await this.request('GET', blob, { range: `bytes=${from}-${to}` }, ending.signal);
      if (response.header('content-encoding') !== undefined && response.header('content-encoding') !== 'identity') {
        throw new OriginFailure(502, 'the origin answers with a content coding, which was not asked for');
      }
      if (response.status === 206) {
        const expected = `bytes ${from}-${to}/${blob.size}`;
        const range = response.header('content-range');
        if (range !== expected)
          throw new OriginFailure(502, `the origin answers ${range ?? 'no range'} for ${expected}`);
        return await this.#read(blob, response.body, { length, sinks });
      }
      if (response.status === 200) {
        const other = this.#whole.get(blob.digest);
        if (other !== undefined) {
          // Another request has found out the same meanwhile; this answer is not needed.
          const bytes = (await unlessAborted(other.piece(index), signal)) ?? (await sinks.stored());
          if (bytes === undefined) throw new OriginFailure(0, 'the piece has passed');
          return bytes;
        }
        // A piece of it may be what a client wants.
        ended?.();
        whole = await this.#readWhole(blob, response, { onOther, paid: length - got.filled });
        // It goes on for others when the one who began it leaves.
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        return (await unlessAborted(whole.piece(index), signal))!;
      }
      throw new OriginFailure(response.status, `the origin answers ${response.status}`, {
        challenge: response.header('www-authenticate'),
      });
    } finally {
      ended?.();
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      if (whole === undefined) await response?.discard().catch(() => undefined);
    }
  }

  /** Reads exactly `length` bytes, those that an earlier try brought among them. */
  async #read(
    blob: OriginBlob,
    body: AsyncIterable<Uint8Array>,
    { length, sinks }: { readonly length: number; readonly sinks: AttemptSinks },
  ): Promise<Buffer> {
    const { got } = sinks;
    if (got.bytes.length !== length) got.bytes = PIECE_MEMORY.take(length);
    for await (const chunk of withStallLimit(body, this.#deadlines.stall)) {
      if (got.filled + chunk.length > length) throw new OriginFailure(502, 'the origin sends more than was asked for');
      got.bytes.set(chunk, got.filled);
      got.filled += chunk.length;
      got.paid -= chunk.length;
      this.#options.onBytes?.(blob.url.host, chunk.length);
      sinks.onBytes?.();
    }
    if (got.filled < length) throw new OriginFailure(0, `the origin ended after ${got.filled} of ${length} bytes`);
    return got.bytes;
  }

  /** Takes a 200 as the whole blob, from which others take their pieces too. `paid`: bytes that the bucket has given already. */
  async #readWhole(
    blob: OriginBlob,
    response: HttpResponse,
    { onOther, paid }: Pick<PieceSinks, 'onOther'> & { readonly paid: number },
  ): Promise<WholeRead> {
    const announced = response.header('content-length');
    if (announced !== undefined && Number(announced) !== blob.size) {
      throw new OriginFailure(502, `the origin has ${announced} bytes where ${blob.size} are expected`);
    }
    const body = this.#counted(blob, response.body, paid);
    const read = new WholeRead({ digest: blob.digest, size: blob.size, body, onOther });
    this.#whole.set(blob.digest, read);
    void read.ended.then(async () => {
      this.#whole.delete(blob.digest);
      await response.discard().catch(() => undefined);
    });
    return read;
  }

  async *#counted(blob: OriginBlob, body: AsyncIterable<Uint8Array>, paid: number): AsyncGenerator<Uint8Array> {
    let free = paid;
    for await (const chunk of withStallLimit(body, this.#deadlines.stall)) {
      const due = Math.max(0, chunk.length - free);
      free = Math.max(0, free - chunk.length);
      await this.#options.bucket.take(due);
      this.#options.onBytes?.(blob.url.host, chunk.length);
      yield chunk;
    }
  }

  #transport(upstream: Upstream): Promise<Transport> {
    let opening = this.#transports.get(upstream.host);
    if (opening === undefined) {
      const runtime = { ...DEFAULT_RUNTIME, ...upstream.http.runtime, connectTimeout: this.#deadlines.firstByte };
      opening = Transport.open({ ...upstream.http, runtime });
      this.#transports.set(upstream.host, opening);
      // Certificates that cannot be read now may be there at the next request.
      opening.catch(() => this.#transports.delete(upstream.host));
    }
    return opening;
  }
}

/** Where one try of a piece puts its bytes. */
interface AttemptSinks extends PieceSinks {
  readonly got: PartialPiece;
}

/** The bytes of a piece that have come so far. */
interface PartialPiece {
  bytes: Buffer;
  filled: number;
  /** Bytes that the bucket has given and that have not come. */
  paid: number;
  /** Whether it stopped for a client, and is to go on later. */
  gaveWay: boolean;
}

/** Whether the same request may go better in a moment. */
function isTransient(status: number): boolean {
  return status === 0 || status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
}

/** The chunks of a body; ends with an {@link OriginFailure} when none comes for `milliseconds`. */
export async function* withStallLimit(
  body: AsyncIterable<Uint8Array>,
  milliseconds: number,
): AsyncGenerator<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      let timer: NodeJS.Timeout | undefined;
      const stalled = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new OriginFailure(0, `no byte for ${milliseconds} ms`)), milliseconds);
      });
      let next: IteratorResult<Uint8Array>;
      try {
        next = await Promise.race([iterator.next(), stalled]);
      } catch (cause) {
        throw cause instanceof OriginFailure
          ? cause
          : new OriginFailure(0, 'the origin broke the connection', { cause });
      } finally {
        clearTimeout(timer);
      }
      if (next.done) return;
      yield next.value;
    }
  } finally {
    // A body that stalls would keep its end waiting too: nobody waits for it.
    void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}
