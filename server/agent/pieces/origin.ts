/**
 * Asks registries for what no peer has, each time with the credential of the client that wants it. An answer is taken only if
 * it is what was asked for: the right range, the right size, no content coding, no byte missing.
 */
import { AccelError } from '../../../base/error.ts';
import { PIECE_BYTES, pieceBytes } from '../../../formats/piece-list/piece-list.ts';
import { DEFAULT_RUNTIME } from '../../../http/http-options.ts';
import { sendFollowing } from '../../../http/redirects.ts';
import { type HttpRequest, type HttpResponse, Transport } from '../../../http/transport.ts';
import type { TokenBucket } from '../limits.ts';
import type { PieceId } from './piece.ts';
import type { Upstream, Upstreams } from './upstreams.ts';

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
/** Tries of one piece; a wait between them. */
const TRIES = 3;
const RETRY_WAITS = [200, 1000];

/** The origin answered with an error, or with something that is not what was asked for (`status` 0: not at all). */
export class OriginFailure extends Error {
  override readonly name = 'OriginFailure';
  /** HTTP status of the origin; 0 where it did not answer, 502 where its answer was no good. */
  readonly status: number;
  /** Its WWW-Authenticate header. */
  readonly challenge: string | undefined;

  constructor(
    status: number,
    message: string,
    details: { readonly challenge?: string | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = status;
    this.challenge = details.challenge;
  }
}

/** Where a fetched piece goes, and when to give up. */
export interface PieceSinks {
  readonly signal?: AbortSignal | undefined;
  /** Takes the other pieces of a blob that came whole. */
  readonly onOther: (id: PieceId, bytes: Buffer) => void;
  /** The wanted piece, if it came with another one meanwhile. */
  readonly stored: () => Promise<Buffer | undefined>;
}

/** Parts and settings of {@link Origin}. */
export interface OriginOptions {
  readonly upstreams: Upstreams;
  /** Bytes a second from all origins. */
  readonly bucket: TokenBucket;
  readonly deadlines?: OriginDeadlines;
  /** Hears of bytes that came from an origin, by its host. */
  readonly onBytes?: (host: string, bytes: number) => void;
}

/** See the head of the file. */
export class Origin {
  readonly #options: OriginOptions;
  readonly #deadlines: OriginDeadlines;
  readonly #transports = new Map<string, Promise<Transport>>();
  /** Blobs that are being read whole because their origin does not know ranges. */
  readonly #whole = new Map<string, Promise<void>>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: OriginOptions) {
    this.#options = options;
    this.#deadlines = options.deadlines ?? ORIGIN_DEADLINES;
  }

  /** Requests for pieces that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
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
   * The bytes of one piece. Where the origin does not know ranges, all pieces come at once: the others go to `onOther`. Throws
   * {@link OriginFailure}.
   */
  async piece(blob: OriginBlob, index: number, sinks: PieceSinks): Promise<Buffer> {
    const { signal } = sinks;
    await this.#enter(signal);
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#attempt(blob, index, sinks);
        } catch (error) {
          signal?.throwIfAborted();
          const passes = error instanceof OriginFailure && isTransient(error.status);
          if (!passes || attempt === TRIES) throw error;
          await new Promise((resolve) => setTimeout(resolve, RETRY_WAITS[attempt - 1]));
        }
      }
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    const transports = await Promise.allSettled(this.#transports.values());
    await Promise.all(transports.map((opened) => (opened.status === 'fulfilled' ? opened.value.close() : undefined)));
  }

  async #attempt(blob: OriginBlob, index: number, sinks: PieceSinks): Promise<Buffer> {
    const { signal, onOther } = sinks;
    await this.#whole.get(blob.digest);
    const stored = await sinks.stored();
    if (stored !== undefined) return stored;
    const length = pieceBytes(blob.size, index);
    const start = index * PIECE_BYTES;
    await this.#options.bucket.take(length, signal);
    const ended = AbortSignal.timeout(this.#deadlines.piece);
    const limits = signal === undefined ? ended : AbortSignal.any([signal, ended]);
    const response = await this.request('GET', blob, { range: `bytes=${start}-${start + length - 1}` }, limits);
    try {
      if (response.header('content-encoding') !== undefined && response.header('content-encoding') !== 'identity') {
        throw new OriginFailure(502, 'the origin answers with a content coding, which was not asked for');
      }
      if (response.status === 206) {
        const expected = `bytes ${start}-${start + length - 1}/${blob.size}`;
        const range = response.header('content-range');
        if (range !== expected)
          throw new OriginFailure(502, `the origin answers ${range ?? 'no range'} for ${expected}`);
        return await this.#read(blob, response.body, length);
      }
      if (response.status === 200) return await this.#readWhole({ blob, index, response, onOther });
      throw new OriginFailure(response.status, `the origin answers ${response.status}`, {
        challenge: response.header('www-authenticate'),
      });
    } finally {
      await response.discard().catch(() => undefined);
    }
  }

  /** Reads exactly `length` bytes. */
  async #read(blob: OriginBlob, body: AsyncIterable<Uint8Array>, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(length);
    let filled = 0;
    for await (const chunk of withStallLimit(body, this.#deadlines.stall)) {
      if (filled + chunk.length > length) throw new OriginFailure(502, 'the origin sends more than was asked for');
      bytes.set(chunk, filled);
      filled += chunk.length;
      this.#options.onBytes?.(blob.url.host, chunk.length);
    }
    if (filled < length) throw new OriginFailure(0, `the origin ended after ${filled} of ${length} bytes`);
    return bytes;
  }

  /** Takes a 200 as the whole blob: hands out each piece as it is complete. */
  async #readWhole({ blob, index, response, onOther }: WholeRead): Promise<Buffer> {
    const announced = response.header('content-length');
    if (announced !== undefined && Number(announced) !== blob.size) {
      throw new OriginFailure(502, `the origin has ${announced} bytes where ${blob.size} are expected`);
    }
    let finish: () => void = () => undefined;
    this.#whole.set(
      blob.digest,
      new Promise((resolve) => {
        finish = resolve;
      }),
    );
    try {
      let wanted: Buffer | undefined;
      let at = 0;
      let filled = 0;
      let current = Buffer.allocUnsafeSlow(Math.max(0, pieceBytes(blob.size, 0)));
      for await (let chunk of withStallLimit(response.body, this.#deadlines.stall)) {
        this.#options.onBytes?.(blob.url.host, chunk.length);
        while (chunk.length > 0) {
          if (current.length === 0) throw new OriginFailure(502, 'the origin sends more than the blob holds');
          const part = chunk.subarray(0, current.length - filled);
          current.set(part, filled);
          filled += part.length;
          chunk = chunk.subarray(part.length);
          if (filled < current.length) continue;
          if (at === index) wanted = current;
          else onOther({ digest: blob.digest, index: at }, current);
          at += 1;
          filled = 0;
          current = Buffer.allocUnsafeSlow(Math.max(0, pieceBytes(blob.size, at)));
        }
      }
      if (wanted === undefined || current.length > 0) throw new OriginFailure(0, 'the origin ended within the blob');
      return wanted;
    } finally {
      this.#whole.delete(blob.digest);
      finish();
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

  async #enter(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#running < MOST_AT_ONCE) {
      this.#running += 1;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

interface WholeRead {
  readonly blob: OriginBlob;
  readonly index: number;
  readonly response: HttpResponse;
  readonly onOther: (id: PieceId, bytes: Buffer) => void;
}

/** Whether the same request may go better in a moment. */
function isTransient(status: number): boolean {
  return status === 0 || status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
}

/** The chunks of a body; ends with an {@link OriginFailure} when none comes for `milliseconds`. */
async function* withStallLimit(body: AsyncIterable<Uint8Array>, milliseconds: number): AsyncGenerator<Uint8Array> {
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
