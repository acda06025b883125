/** Answers a client that wants a blob, or a range of it: checks access, then streams pieces as they come. For both client ports' paths. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { LRUCache } from 'lru-cache';
import { PIECE_BYTES } from '../../formats/piece-list/piece-list.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import type { Access, AccessQuestion } from './access.ts';
import { atMost } from './at-most.ts';
import { type BlobStreams, type StreamRequest, WrongDigest } from './blob-stream.ts';
import { contentRange, entityTag, isCurrent, parseRange } from './client-range.ts';
import type { ClientRecord } from './client-record.ts';
import { drained } from './drained.ts';
import type { FirstBytes } from './first-bytes.ts';
import { Slots, type TokenBucket } from './limits.ts';
import type { PieceLists } from './load-piece-lists.ts';
import type { Manifests } from './manifests.ts';
import type { Swarms } from './peers/swarms.ts';
import { type OriginBlob, OriginFailure } from './pieces/origin.ts';
import { type ByteRange, piecesOf } from './pieces/piece.ts';
import { PIECE_MEMORY } from './pieces/piece-memory.ts';
import { confirmBlob } from './pieces/record.ts';
import { clientStatus, sendRegistryError } from './registry-error.ts';
import { DIRECT, STREAM } from './urgency.ts';

/** Parts and settings of {@link BlobServer}. */
export interface BlobServerOptions {
  readonly access: Access;
  readonly manifests: Manifests;
  readonly streams: BlobStreams;
  readonly swarms: Swarms;
  readonly lists: PieceLists;
  readonly firstBytes: FirstBytes;
  readonly metrics: AgentMetrics;
  /** Bytes a second to clients. */
  readonly bucket: TokenBucket;
  /** Blobs that are sent at once. */
  readonly concurrency: number;
  /** The mirror's clients get no byte of a blob before its digest was right. */
  readonly strict: boolean;
}

/** A client's request for a blob. */
export interface BlobRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Where the blob is, and with which credential. */
  readonly question: AccessQuestion;
  readonly digest: string;
  readonly kind: 'mirror' | 'block';
  readonly signal: AbortSignal;
  /** Hears what the client got. */
  readonly record: ClientRecord;
}

/** A range of at most as many pieces is a lazy read: owners are asked directly, and the swarm is not joined. */
const DIRECT_PIECES = 4;
/** Blobs whose ranged reads are counted, and milliseconds after the last at which the count begins again. */
const MOST_LAZY = 10_000;
const LAZY_FOR = 60_000;
/**
 * Bytes of a device's read that are sent in one write: the kernel has taken all of them or none, so that the end of this
 * process cannot cut an answer, which overlaybd does not try again once it has the head (docs/decisions/0014).
 */
const MOST_IN_ONE = PIECE_BYTES;
/** Clients that wait for their turn. */
const MOST_WAITING = 1024;

/** See the head of the file. */
export class BlobServer {
  readonly #o: BlobServerOptions;
  readonly #slots: Slots;
  readonly #reads = new LazyReads();
  /** Blobs that clients of this node read now, with the newest credential. */
  readonly #pulling = new Map<string, { blob: OriginBlob; users: number }>();

  constructor(options: BlobServerOptions) {
    this.#o = options;
    this.#slots = new Slots(options.concurrency, MOST_WAITING);
  }

  /** The blob if a client of this node is reading it. */
  pulling(digest: string): OriginBlob | undefined {
    return this.#pulling.get(digest)?.blob;
  }

  /** Answers one request. Throws OriginFailure, or the signal's reason, before the first byte has left. */
  async serve(asked: BlobRequest): Promise<void> {
    const { access, manifests } = this.#o;
    const { question, digest, response, request } = asked;
    const answer = await access.check(question);
    if (!answer.allowed) {
      const headers = answer.challenge === undefined ? {} : { 'www-authenticate': answer.challenge };
      return sendRegistryError(
        response,
        clientStatus(answer.status),
        answer.status >= 500
          ? 'the registry does not answer, and this caller was not let read lately'
          : 'the registry does not let this caller read, or does not have it',
        headers,
      );
    }
    const repository = repositoryOf(question);
    confirmBlob(this.#o.metrics.activity, { digest, url: question.target.url });
    if (answer.size !== undefined) manifests.noteSize(repository, digest, answer.size);
    const size = manifests.blob(repository, digest)?.size ?? (await this.#sizeOf(asked));
    const headers = {
      'accept-ranges': 'bytes',
      etag: entityTag(digest),
      'docker-content-digest': digest,
      'content-type': 'application/octet-stream',
    };
    if (request.method === 'HEAD') {
      response.writeHead(200, { ...headers, 'content-length': size }).end();
      return;
    }
    const range = isCurrent(request.headers['if-range'], digest) ? parseRange(request.headers.range, size) : undefined;
    if (range === 'unsatisfiable')
      return sendRegistryError(response, 416, 'the range is outside of the blob', {
        'content-range': `bytes */${size}`,
      });
    const status = range === undefined ? 200 : 206;
    const wanted = range ?? { start: 0, end: size };
    asked.record.offset = wanted.start;
    const length = wanted.end - wanted.start;
    const head = {
      ...headers,
      'content-length': length,
      ...(range === undefined ? {} : { 'content-range': contentRange(wanted, size) }),
    };
    const reply = { size, wanted, status, head };
    if (asked.kind === 'block' && length === 1 && wanted.start === 0 && (await this.#sendFirst(asked, reply))) return;
    const served = await this.#slots.run(() => this.#stream(asked, reply).then(() => true), {
      urgency: isDirect(wanted, range) ? DIRECT : STREAM,
      signal: asked.signal,
    });
    if (served === undefined)
      sendRegistryError(response, 503, 'too many blobs are read at once', { 'retry-after': '1' });
  }

  /** Answers a device's question for the size; false where it is to be answered as any read. */
  async #sendFirst(
    { question, digest, response, signal, record }: BlobRequest,
    { size, status, head }: Reply,
  ): Promise<boolean> {
    const { firstBytes, metrics } = this.#o;
    const started = performance.now();
    const byte = await firstBytes.get(repositoryOf(question), { ...question.target, digest, size }, signal);
    if (byte === undefined) return false;
    response.writeHead(status, head).end(byte);
    metrics.toClients.inc({ registry: question.host }, 1);
    metrics.firstByte.observe({ kind: 'block' }, (performance.now() - started) / 1000);
    record.read(digest, 1);
    return true;
  }

  async #stream(asked: BlobRequest, { size, wanted, status, head }: Reply): Promise<void> {
    const { question, digest, response, signal, kind, record } = asked;
    const { swarms, streams, lists, bucket, metrics } = this.#o;
    const inOne: Buffer[] | undefined = kind === 'block' && wanted.end - wanted.start <= MOST_IN_ONE ? [] : undefined;
    const started = performance.now();
    const blob: OriginBlob = { ...question.target, digest, size };
    let sent = 0;
    const whole = wanted.start === 0 && wanted.end === size;
    const few = !whole && isDirect(wanted, status === 206 ? wanted : undefined);
    const direct = few && !this.#reads.isMany(digest, wanted);
    this.#enter(blob);
    if (!direct) swarms.join(digest);
    try {
      await lists.load(blob, repositoryOf(question), signal);
      const check = this.#o.strict && kind === 'mirror' ? await this.#verified(blob, signal) : undefined;
      const position = this.#o.manifests.blob(repositoryOf(question), digest)?.position ?? 0;
      const chunks = streams.read({ blob, range: wanted, direct, position, signal, check });
      for await (const chunk of whole
        ? this.#again(chunks, { blob, range: wanted, position, signal, check }, response)
        : chunks) {
        const letGo = PIECE_MEMORY.hold(chunk);
        await bucket.take(chunk.length, signal);
        if (inOne !== undefined) {
          response.once('finish', letGo);
          metrics.toClients.inc({ registry: question.host }, chunk.length);
          sent += chunk.length;
          inOne.push(chunk);
          continue;
        }
        if (!response.headersSent) {
          metrics.firstByte.observe({ kind }, (performance.now() - started) / 1000);
          response.writeHead(status, head);
        }
        metrics.toClients.inc({ registry: question.host }, chunk.length);
        sent += chunk.length;
        if (!response.write(chunk, letGo)) await drained(response);
        if (response.destroyed) return record.read(digest, sent);
      }
      if (inOne !== undefined) metrics.firstByte.observe({ kind }, (performance.now() - started) / 1000);
      if (!response.headersSent) response.writeHead(status, head);
      response.end(inOne === undefined ? undefined : joined(inOne));
      record.read(digest, sent);
      if (wanted.start === 0 && wanted.end === size) void swarms.announce(digest).catch(() => undefined);
    } finally {
      if (!direct) swarms.leave(digest);
      this.#leave(digest);
    }
  }

  /** The same once more where a wrong digest shows before the client has a byte: the next read is the origin's alone. */
  async *#again(
    chunks: AsyncIterable<Buffer>,
    request: StreamRequest,
    response: ServerResponse,
  ): AsyncGenerator<Buffer> {
    try {
      yield* chunks;
    } catch (error) {
      if (!(error instanceof WrongDigest) || response.headersSent) throw error;
      yield* this.#o.streams.read(request);
    }
  }

  /** The hashes of the blob's pieces, once its digest was right: read in full before the client gets a byte. */
  async #verified(blob: OriginBlob, signal: AbortSignal): Promise<readonly string[]> {
    try {
      return await this.#o.streams.verify(blob, signal);
    } catch (error) {
      if (!(error instanceof WrongDigest)) throw error;
      return this.#o.streams.verify(blob, signal);
    }
  }

  /** Asks the registry: access was remembered, but no manifest has given the size. */
  async #sizeOf({ question, digest }: BlobRequest): Promise<number> {
    const started = performance.now();
    const answer = await this.#o.access.ask(question);
    const bytes = answer.allowed ? answer.size : undefined;
    this.#o.metrics.activity.note('stat', { digest, offset: 0, bytes, started });
    if (!answer.allowed)
      throw new OriginFailure(answer.status, `the registry answers ${answer.status}`, { challenge: answer.challenge });
    if (answer.size === undefined) throw new OriginFailure(502, 'the answer of the registry has no size of the blob');
    this.#o.manifests.noteSize(repositoryOf(question), digest, answer.size);
    return answer.size;
  }

  #enter(blob: OriginBlob): void {
    const known = this.#pulling.get(blob.digest);
    if (known === undefined) this.#pulling.set(blob.digest, { blob, users: 1 });
    else {
      known.blob = blob;
      known.users += 1;
    }
  }

  #leave(digest: string): void {
    const known = this.#pulling.get(digest);
    if (known === undefined) return;
    known.users -= 1;
    if (known.users === 0) this.#pulling.delete(digest);
  }
}

interface Reply {
  readonly size: number;
  readonly wanted: ByteRange;
  readonly status: number;
  readonly head: Readonly<Record<string, string | number>>;
}

function repositoryOf({ host, repository }: AccessQuestion): string {
  return `${host}/${repository}`;
}

/** Ranged reads of late: who reads more than a few pieces of a blob wants the swarm's help. */
class LazyReads {
  readonly #pieces = new LRUCache<string, Set<number>>({ ...atMost(MOST_LAZY), ttl: LAZY_FOR });

  /** Notes a read; whether the blob's reads go beyond a few pieces. */
  isMany(digest: string, range: ByteRange): boolean {
    const seen = this.#pieces.get(digest) ?? new Set<number>();
    const { first, end } = piecesOf(range);
    for (let index = first; index < end && seen.size <= DIRECT_PIECES; index++) seen.add(index);
    this.#pieces.set(digest, seen);
    return seen.size > DIRECT_PIECES;
  }
}

function isDirect(wanted: ByteRange, range: ByteRange | undefined): boolean {
  return range !== undefined && wanted.end - wanted.start <= DIRECT_PIECES * PIECE_BYTES;
}

function joined(parts: readonly Buffer[]): Buffer {
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
