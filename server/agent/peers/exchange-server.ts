/** Answers other agents: pieces and swarms. Requests are bounded, and slow callers are cut off. */
import http from 'node:http';
import https from 'node:https';
import type { TLSSocket } from 'node:tls';
import { VERSION } from '../../../base/version.ts';
import { pieceCount } from '../../../formats/piece-list/piece-list.ts';
import type { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import { boundConnections } from '../../telemetry/bound-connections.ts';
import { Slots, type TokenBucket } from '../limits.ts';
import { type Identity, isFor } from '../pieces/attestation.ts';
import type { FetchOptions } from '../pieces/fetch-options.ts';
import type { PieceFetcher } from '../pieces/fetch-piece.ts';
import { type OriginBlob, OriginFailure } from '../pieces/origin.ts';
import type { Piece, PieceId } from '../pieces/piece.ts';
import { PIECE_MEMORY } from '../pieces/piece-memory.ts';
import { learnBlob, notePiece } from '../pieces/record.ts';
import { blobDigest } from '../pieces/upstreams.ts';
import { readText } from '../read-text.ts';
import { DIRECT, PREFETCH, STREAM, type Urgency } from '../urgency.ts';
import type { Health, View } from './peers.ts';
import { sendBody } from './send-body.ts';
import type { Peer } from './topology.ts';
import type { Tracker } from './tracker.ts';
import {
  ALIVE_EVERY,
  HEADER,
  MOST_HOPS,
  PING_PATH,
  parseJoinRequest,
  parsePiecePath,
  parsePrefetchPath,
  parseSwarmPath,
  REACH_PATH,
  type ReachAnswer,
  type Role,
} from './wire.ts';

/** Pieces that are sent at once; further ones wait in order, owners' first. */
const UPLOADS = 64;
const MOST_WAITING = 1024;
/**
 * Requests for pieces that one caller may have at once: as many as an agent has in flight, for itself and for others. The pieces
 * of further ones would only fill this node's memory.
 */
const MOST_OF_ONE = 128;
/** Of those, pieces that are sent at once: one that reads slowly leaves room for the others. */
const UPLOADS_TO_ONE = 16;
/** Connections, and those from one address; several agents may share one. */
const MOST_CONNECTIONS = 16_384;
const MOST_OF_ADDRESS = 1024;
/** Milliseconds for the handshake of a connection. */
const HANDSHAKE = 5_000;
/** Largest join request, in bytes. */
const MAX_JOIN = 4096;
/** Milliseconds for a piece to leave this node. */
const SEND_TIMEOUT = 30_000;
/** A node of a tree refuses when what it has to send would take longer than this, in milliseconds. */
const MOST_BACKLOG = 50;
const RETRY_AFTER_MS = 100;
/** Callers that are connected back to at once. */
const MOST_REACHING = 8;

/** Parts and settings of {@link createExchangeServer}. */
export interface ExchangeOptions {
  readonly identity: Identity | undefined;
  readonly view: () => View;
  readonly health: Health;
  readonly fetcher: PieceFetcher;
  readonly tracker: Tracker;
  readonly metrics: AgentMetrics;
  /** Bytes a second to other agents. */
  readonly bucket: TokenBucket;
  /** The blob that this node itself is pulling: where its origin is. */
  readonly pulling: (digest: string) => OriginBlob | undefined;
  /** Answers a node that starts a prefetch here, asks about it or ends it. */
  readonly prefetch: (id: string, request: http.IncomingMessage, response: http.ServerResponse) => Promise<void>;
  /** Connects to a member: why it cannot be reached, undefined when it answers. */
  readonly ping: (peer: Peer) => Promise<string | undefined>;
  /** Hears of a connection that ended before its handshake did, and why: a certificate of another authority, or none. */
  readonly onRefused?: (address: string, reason: string) => void;
  /** Ends when the agent stops. */
  readonly signal: AbortSignal;
}

/** A server, not yet listening, and its upload slots. */
export interface ExchangeServer {
  readonly server: http.Server;
  readonly slots: Slots;
  /** Shows another certificate of this node from now on. Throws the system's error for damaged PEM. */
  use(identity: Identity): void;
}

/** Makes the server: HTTPS with certificates on both sides, or HTTP where there is no identity. */
export function createExchangeServer(options: ExchangeOptions): ExchangeServer {
  const slots = new Slots(UPLOADS, MOST_WAITING);
  const handler = new ExchangeHandler(options, slots);
  const listener = (request: http.IncomingMessage, response: http.ServerResponse) => {
    response.on('error', () => undefined);
    response.on('finish', () => options.metrics.peerRequests.inc({ status: String(response.statusCode) }));
    handler.handle(request, response).catch(() => {
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    });
  };
  const settings = {
    keepAliveTimeout: 60_000,
    headersTimeout: 5_000,
    requestTimeout: 10_000,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: 32 * 1024,
  };
  const { identity } = options;
  const server =
    identity === undefined
      ? http.createServer(settings, listener)
      : https.createServer(
          {
            ...settings,
            ...identity,
            requestCert: true,
            rejectUnauthorized: true,
            minVersion: 'TLSv1.3',
            handshakeTimeout: HANDSHAKE,
          },
          listener,
        );
  server.on('clientError', (_, socket) => socket.destroy());
  server.on('tlsClientError', (error: Error, { remoteAddress = '', authorizationError }: TLSSocket) => {
    options.metrics.refusedHandshakes.inc();
    options.onRefused?.(remoteAddress, String(authorizationError ?? error.message));
  });
  const { endedConnections } = options.metrics;
  boundConnections(server, {
    most: MOST_CONNECTIONS,
    mostOfOne: MOST_OF_ADDRESS,
    onEnded: () => endedConnections.inc({ port: 'peers' }),
  });
  const use = (next: Identity) => (server as https.Server).setSecureContext({ ...next, minVersion: 'TLSv1.3' });
  return { server, slots, use };
}

/** A piece that is sent. */
interface Sending {
  readonly id: PieceId;
  readonly piece: Piece;
  readonly urgency: Urgency;
  readonly signal: AbortSignal;
}

class ExchangeHandler {
  readonly #o: ExchangeOptions;
  readonly #slots: Slots;
  readonly #backlog = new Backlog();
  #reaching = 0;
  /** Callers that want pieces now. */
  readonly #callers = new Map<string, { readonly slots: Slots; requests: number }>();

  constructor(options: ExchangeOptions, slots: Slots) {
    this.#o = options;
    this.#slots = slots;
  }

  async handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const caller = this.#caller(request);
    if (caller === undefined) return reply(response, 403);
    // Whoever asks is alive, however late its last answer was.
    this.#o.health.clear(caller);
    const view = textOf(request.headers[HEADER.view]);
    if (view !== '') this.#o.health.differs(view);
    const swarm = parseSwarmPath(path);
    if (swarm !== undefined && request.method === 'POST') return this.#join(swarm, caller, request, response);
    const prefetch = parsePrefetchPath(path);
    if (prefetch !== undefined) return this.#o.prefetch(prefetch, request, response);
    if (path === PING_PATH) return reply(response, 204);
    if (path === REACH_PATH) return this.#reach(caller, response);
    const id = parsePiecePath(path);
    if (id === undefined || request.method !== 'GET') return reply(response, 404);
    const own = this.#callers.get(caller) ?? { slots: new Slots(UPLOADS_TO_ONE), requests: 0 };
    if (own.requests >= MOST_OF_ONE) return busy(response);
    own.requests += 1;
    this.#callers.set(caller, own);
    try {
      await this.#piece(id, request, response, own.slots);
    } finally {
      own.requests -= 1;
      if (own.requests === 0) this.#callers.delete(caller);
    }
  }

  /** The node that asks: what it says it is, if its certificate agrees. */
  #caller(request: http.IncomingMessage): string | undefined {
    const said = request.headers[HEADER.node];
    if (typeof said !== 'string') return undefined;
    if (this.#o.identity === undefined) return said;
    const certificate = (request.socket as TLSSocket).getPeerX509Certificate();
    return certificate !== undefined && isFor(certificate, said) ? said : undefined;
  }

  /** Connects back to a member; to nobody else, since in the clear a caller may claim any address. */
  async #reach(caller: string, response: http.ServerResponse): Promise<void> {
    const peer = this.#o.view().members.peers.find(({ id }) => id === caller);
    if (this.#reaching >= MOST_REACHING) return reply(response, 503);
    this.#reaching++;
    try {
      const failure = peer === undefined ? 'it is no member in the view of this node' : await this.#o.ping(peer);
      const answer: ReachAnswer = { time: Date.now(), version: VERSION, ...(failure === undefined ? {} : { failure }) };
      const body = Buffer.from(JSON.stringify(answer));
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
    } finally {
      this.#reaching--;
    }
  }

  async #join(
    digest: string,
    caller: string,
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): Promise<void> {
    const join = parseJoinRequest((await readText(request, MAX_JOIN)) ?? '');
    if (join === undefined) {
      // The rest of a body that is too long is not read.
      response.shouldKeepAlive = false;
      return reply(response, 400);
    }
    if (join.id !== caller) return reply(response, 403);
    const { tracker } = this.#o;
    const wants = join.leaving !== true && join.complete !== true;
    if (!wants) tracker.note(digest, join);
    const answer = wants ? await tracker.join(digest, join) : tracker.answer(digest);
    const body = Buffer.from(JSON.stringify(answer));
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
  }

  async #piece(id: PieceId, request: http.IncomingMessage, response: http.ServerResponse, slots: Slots): Promise<void> {
    const { self } = this.#o.view();
    const via = textOf(request.headers[HEADER.via])
      .split(',')
      .filter((node) => node !== '');
    if (via.includes(self.id)) return reply(response, 409);
    if (via.length > MOST_HOPS) return reply(response, 400);
    const role: Role = request.headers[HEADER.role] === 'owner' ? 'owner' : 'tree';
    const { milliseconds } = this.#backlog;
    const insists = role === 'owner' || request.headers[HEADER.insists] === '1';
    if (!insists && milliseconds > MOST_BACKLOG) return busy(response, milliseconds);
    // Until the answer begins: while the piece is fetched, and while it waits for a slot.
    const alive = setInterval(() => {
      if (!response.headersSent && !response.destroyed) response.writeProcessing();
    }, ALIVE_EVERY);
    let held: Piece | undefined;
    const started = performance.now();
    try {
      const prefetch = request.headers[HEADER.urgency] === String(PREFETCH.level);
      const urgency = prefetch ? PREFETCH : role === 'owner' ? DIRECT : STREAM;
      // One of this request: the waits of all requests together are too many for one signal.
      const signal = AbortSignal.any([this.#o.signal]);
      const wish = { via, urgency, signal };
      const piece = role === 'owner' ? await this.#asOwner(id, request, wish) : await this.#asTree(id, wish);
      if (piece === 'not-owner') return reply(response, 421);
      held = piece;
      if (piece === undefined || !this.#o.fetcher.isCredible(id, piece)) return reply(response, 404);
      await slots.run(() => this.#send({ id, piece, urgency, signal }, response), { urgency, signal });
    } catch (error) {
      notePiece(this.#o.metrics.activity, 'to-peer', id, { bytes: undefined, started });
      if (!(error instanceof OriginFailure) || response.headersSent) throw error;
      failed(response, error);
    } finally {
      clearInterval(alive);
      if (held !== undefined) PIECE_MEMORY.letGo(held);
    }
  }

  async #asOwner(
    id: PieceId,
    request: http.IncomingMessage,
    wish: FetchOptions,
  ): Promise<Piece | undefined | 'not-owner'> {
    const blob = blobOf(id, request);
    if (blob === undefined) return this.#o.fetcher.stored(id);
    learnBlob(this.#o.metrics.activity, blob);
    return (await this.#o.fetcher.getAsOwner(blob, id.index, wish)) ?? 'not-owner';
  }

  /** From the store, or along this node's own tree if it wants the blob as well. */
  async #asTree(id: PieceId, wish: FetchOptions): Promise<Piece | undefined> {
    const stored = await this.#o.fetcher.stored(id);
    if (stored !== undefined) return stored;
    const blob = this.#o.pulling(id.digest);
    if (blob === undefined || id.index >= pieceCount(blob.size)) return undefined;
    return this.#o.fetcher.get(blob, id.index, wish);
  }

  async #send({ id, piece, urgency, signal }: Sending, response: http.ServerResponse): Promise<void> {
    const { bytes, sha256, attestation } = piece;
    const { activity, toPeers } = this.#o.metrics;
    const started = performance.now();
    this.#backlog.add(bytes.length);
    try {
      const sent = await this.#slots.run(
        async () => {
          // The one who asked may have left while the piece waited.
          if (response.destroyed) return false;
          await this.#o.bucket.take(bytes.length, signal, urgency);
          response.writeHead(200, {
            'content-type': 'application/octet-stream',
            'content-length': bytes.length,
            [HEADER.pieceSha256]: sha256,
            [HEADER.pieceSize]: bytes.length,
            ...(attestation === undefined ? {} : { [HEADER.attest]: attestation }),
          });
          // By itself: written together with the body, both would be copied into one more buffer before they are encrypted.
          response.flushHeaders();
          await sendBody(response, bytes, SEND_TIMEOUT);
          return true;
        },
        { urgency, signal },
      );
      if (sent === undefined) return busy(response);
      if (!sent) return;
      toPeers.inc({ registry: activity.registryOf(id.digest) }, bytes.length);
      notePiece(activity, 'to-peer', id, { bytes: bytes.length, started });
    } finally {
      this.#backlog.remove(bytes.length);
    }
  }
}

/** Bytes that wait to be sent, as the time that sending them takes at the rate of late. */
class Backlog {
  #bytes = 0;
  /** Bytes a millisecond; undefined until something was sent under load. */
  #rate: number | undefined;
  #sent = 0;
  #since = 0;

  get milliseconds(): number {
    return this.#rate === undefined ? 0 : this.#bytes / this.#rate;
  }

  add(bytes: number): void {
    if (this.#bytes === 0) {
      this.#since = performance.now();
      this.#sent = 0;
    }
    this.#bytes += bytes;
  }

  remove(bytes: number): void {
    this.#bytes -= bytes;
    this.#sent += bytes;
    const elapsed = performance.now() - this.#since;
    // The rate of a busy stretch; a single quick piece says little.
    if (elapsed > 20) {
      this.#rate = Math.max(this.#sent / elapsed, (this.#rate ?? 0) * 0.9);
      this.#since = performance.now();
      this.#sent = 0;
    }
  }
}

/** The blob that a request to an owner is about; undefined when it does not say where its origin is. */
function blobOf({ digest, index }: PieceId, request: http.IncomingMessage): OriginBlob | undefined {
  const origin = textOf(request.headers[HEADER.origin]);
  const size = Number(request.headers[HEADER.size] ?? Number.NaN);
  if (!URL.canParse(origin) || !Number.isSafeInteger(size) || index >= pieceCount(size)) return undefined;
  // The origin must be asked for this very blob: another one's bytes would be signed as this one's.
  if (blobDigest(new URL(origin)) !== digest) return undefined;
  const authorization = request.headers[HEADER.authorization];
  return {
    digest,
    size,
    url: new URL(origin),
    authorization: typeof authorization === 'string' ? authorization : undefined,
  };
}

function failed(response: http.ServerResponse, { status, challenge }: OriginFailure): void {
  response
    .writeHead(502, {
      [HEADER.originStatus]: status,
      ...(challenge === undefined ? {} : { [HEADER.originChallenge]: challenge }),
      'content-length': 0,
    })
    .end();
}

function busy(response: http.ServerResponse, milliseconds = RETRY_AFTER_MS): void {
  response.writeHead(503, { [HEADER.retryAfter]: Math.ceil(milliseconds), 'content-length': 0 }).end();
}

function reply(response: http.ServerResponse, status: number): void {
  response.writeHead(status, { 'content-length': 0 }).end();
}

function textOf(value: string | string[] | undefined): string {
  return typeof value === 'string' ? value : '';
}
