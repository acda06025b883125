/**
 * Asks Dragonfly's dfdaemon for pieces, through its HTTP proxy as a registry mirror: the path of the blob, and the registry in a
 * header, so that TLS to the registry is dfdaemon's and needs no certificate of its own here
 * (dragonflyoss/client, dragonfly-client/src/proxy: header.rs and mod.rs).
 */
import http from 'node:http';
import { PIECE_BYTES, pieceBytes } from '../../../formats/piece-list/piece-list.ts';
import type { OriginBlob } from './origin.ts';
import type { EngineAnswer, PieceEngine } from './piece-engine.ts';

/** Headers of dfdaemon's proxy, in lower case. */
export const DRAGONFLY = {
  /** Scheme and host of the registry that the path belongs to. */
  registry: 'x-dragonfly-registry',
  /** `true`: share this, whatever the proxy's rules say. */
  useP2p: 'x-dragonfly-use-p2p',
  /** `true`: the same blob of two registries or repositories is one task. */
  taskByDigest: 'x-dragonfly-enable-task-id-based-blob-digest',
  /** `true`: a range makes dfdaemon fetch the whole blob. */
  prefetch: 'x-dragonfly-prefetch',
  /** In answers: who failed, `backend`, `proxy` or `dfdaemon`. */
  errorType: 'x-dragonfly-error-type',
} as const;

/** Milliseconds that dfdaemon may take, and for which it is left alone after it failed. */
export interface DragonflyDeadlines {
  readonly connect: number;
  /** To the first byte: it may fetch the piece from the registry first. */
  readonly firstByte: number;
  /** Between two chunks. */
  readonly stall: number;
  /** After a refused connection or a missed deadline. */
  readonly rest: number;
}

/** The numbers of docs/agent.md, "Engines". */
export const DRAGONFLY_DEADLINES: DragonflyDeadlines = { connect: 200, firstByte: 10_000, stall: 5_000, rest: 10_000 };

/** Connections to dfdaemon at once. */
const MOST = 32;
/** Names of failures that dfdaemon gives. */
const ERROR_TYPES = ['backend', 'proxy', 'dfdaemon'];

/** See the head of the file. */
export class Dragonfly implements PieceEngine {
  readonly #proxy: { readonly host: string; readonly port: number };
  readonly #deadlines: DragonflyDeadlines;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: MOST, maxFreeSockets: 4 });
  #restUntil = 0;

  constructor(proxy: { readonly host: string; readonly port: number }, deadlines = DRAGONFLY_DEADLINES) {
    this.#proxy = proxy;
    this.#deadlines = deadlines;
  }

  async piece(blob: OriginBlob, index: number, signal: AbortSignal | undefined): Promise<EngineAnswer> {
    signal?.throwIfAborted();
    if (performance.now() < this.#restUntil) return { kind: 'none', reason: 'resting' };
    const length = pieceBytes(blob.size, index);
    const start = index * PIECE_BYTES;
    const range = `bytes ${start}-${start + length - 1}/${blob.size}`;
    const answer = await this.#get(blob, range, { length, signal });
    if (answer.kind === 'none' && ['unreachable', 'timeout'].includes(answer.reason))
      this.#restUntil = performance.now() + this.#deadlines.rest;
    return answer;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** `range` as Content-Range has it. Resolves to why nothing came for every failure that is not the caller's leaving. */
  #get(
    blob: OriginBlob,
    range: string,
    { length, signal }: { readonly length: number; readonly signal: AbortSignal | undefined },
  ): Promise<EngineAnswer> {
    const { connect, firstByte, stall } = this.#deadlines;
    return new Promise((resolve, reject) => {
      const request = http.get({
        ...this.#proxy,
        agent: this.#agent,
        path: `${blob.url.pathname}${blob.url.search}`,
        headers: {
          host: blob.url.host,
          range: `bytes=${range.slice('bytes '.length, range.indexOf('/'))}`,
          [DRAGONFLY.registry]: blob.url.origin,
          [DRAGONFLY.useP2p]: 'true',
          [DRAGONFLY.taskByDigest]: 'true',
          [DRAGONFLY.prefetch]: 'false',
          ...(blob.authorization === undefined ? {} : { authorization: blob.authorization }),
        },
      });
      let timer: NodeJS.Timeout | undefined;
      const within = (milliseconds: number, reason: string) => {
        clearTimeout(timer);
        timer = setTimeout(() => end(reason), milliseconds);
      };
      const leave = () => {
        clearTimeout(timer);
        request.destroy();
        reject(signal?.reason);
      };
      const end = (result: Buffer | string) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', leave);
        if (typeof result === 'string') request.destroy();
        resolve(typeof result === 'string' ? { kind: 'none', reason: result } : { kind: 'piece', bytes: result });
      };
      signal?.addEventListener('abort', leave, { once: true });
      within(firstByte, 'timeout');
      request.on('socket', (socket) => {
        if (!socket.connecting) return;
        within(connect, 'unreachable');
        socket.once('connect', () => within(firstByte, 'timeout'));
      });
      request.on('error', () => end('unreachable'));
      request.on('response', (response) => {
        const refused = refusalOf(response, range);
        if (refused !== undefined) return end(refused);
        const bytes = Buffer.allocUnsafeSlow(length);
        let filled = 0;
        within(stall, 'timeout');
        response.on('data', (chunk: Buffer) => {
          if (filled + chunk.length > length) return end('length');
          bytes.set(chunk, filled);
          filled += chunk.length;
          within(stall, 'timeout');
        });
        response.on('error', () => end('broken'));
        response.on('aborted', () => end('broken'));
        response.on('end', () => end(filled === length ? bytes : 'length'));
      });
    });
  }
}

/** Why an answer is not the range that was asked for. */
function refusalOf({ statusCode, headers }: http.IncomingMessage, range: string): string | undefined {
  if (statusCode === 206) {
    const { 'content-encoding': coding = 'identity' } = headers;
    return headers['content-range'] === range && coding === 'identity' ? undefined : 'range';
  }
  const type = headers[DRAGONFLY.errorType];
  return typeof type === 'string' && ERROR_TYPES.includes(type) ? type : 'status';
}
