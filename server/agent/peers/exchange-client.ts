/** Asks other agents for pieces and swarms. Every wait has a deadline; a node that misses one is reported as dead. */
import { PIECE_BYTES, pieceBytes } from '../../../formats/piece-list/piece-list.ts';
import type { Identity } from '../pieces/attestation.ts';
import type { OriginBlob } from '../pieces/origin.ts';
import { PREFETCH, type Urgency } from '../urgency.ts';
import type { Answer } from './answer-reader.ts';
import { DeadlineTimers } from './deadline-timers.ts';
import { checkHeaders, type EndExchange, PeerConnections } from './peer-connections.ts';
import { PACE_EVERY, type Pace, PaceWatch } from './peer-pace.ts';
import type { Peer } from './topology.ts';
import {
  HEADER,
  type JoinRequest,
  MAX_BODY,
  PING_PATH,
  parseJoinAnswer,
  parseReachAnswer,
  piecePath,
  prefetchPath,
  REACH_PATH,
  type ReachAnswer,
  type Role,
  swarmPath,
} from './wire.ts';

/** Milliseconds that another agent may take. */
export interface PeerDeadlines {
  readonly connect: number;
  /** Without a byte or a sign of life. */
  readonly silence: number;
  /** For a whole piece. */
  readonly piece: number;
  /** Between two looks at whether the piece comes. */
  readonly pace?: number;
}

/** The numbers of the protocol (docs/agent.md, "Between agents"). */
export const PEER_DEADLINES: PeerDeadlines = { connect: 200, silence: 1_000, piece: 30_000, pace: PACE_EVERY };

/** A request for a piece. */
export interface PieceQuestion {
  readonly blob: OriginBlob;
  readonly index: number;
  readonly role: Role;
  /** The node is not to refuse because of load. */
  readonly insists?: boolean;
  /** Ids of the nodes that the request came by, this one last. */
  readonly via: readonly string[];
  /** Version of this node's view. */
  readonly view: string;
  readonly urgency?: Urgency;
  readonly pace?: Pace;
  readonly signal?: AbortSignal | undefined;
}

/** The outcome of a request for a piece. */
export type PieceAnswer =
  | { readonly kind: 'piece'; readonly bytes: Buffer; readonly attestation: string | undefined }
  /** The node has it not, is busy, or is in the request's path: ask the next one. */
  | { readonly kind: 'next'; readonly status: number; readonly busyFor: number | undefined }
  /** The origin failed, with this status. */
  | { readonly kind: 'origin'; readonly status: number; readonly challenge: string | undefined }
  /** It lives, and does not send the piece. */
  | { readonly kind: 'slow' }
  /** No answer in time, or no connection. */
  | { readonly kind: 'dead'; readonly reason: string };

/** Settings of {@link ExchangeClient}. */
export interface ExchangeClientOptions {
  readonly deadlines?: PeerDeadlines;
  /** Milliseconds by which this process was late lately. */
  readonly lag?: () => number;
  /** Hears of each request that was not aborted: why a node could not be reached, undefined when it answered. */
  readonly onOutcome?: (node: string, problem: string | undefined) => void;
}

/** See the head of the file. */
export class ExchangeClient {
  readonly #self: Peer;
  readonly #deadlines: PeerDeadlines;
  readonly #connections: PeerConnections;
  readonly #lag: () => number;
  readonly #onOutcome: ExchangeClientOptions['onOutcome'];

  /** Without an identity requests go in the clear. */
  constructor(
    self: Peer,
    identity: Identity | undefined,
    { deadlines = PEER_DEADLINES, lag = () => 0, onOutcome }: ExchangeClientOptions = {},
  ) {
    this.#self = self;
    this.#deadlines = deadlines;
    this.#lag = lag;
    this.#onOutcome = onOutcome;
    this.#connections = new PeerConnections(identity);
  }

  /** Connects with another certificate of this node from now on. */
  use(identity: Identity): void {
    this.#connections.use(identity);
  }

  /** Asks a node for a piece. Rejects only when the signal fires. */
  async piece(peer: Peer, question: PieceQuestion): Promise<PieceAnswer> {
    const { blob, index, role, insists = false, via, view, urgency, pace, signal } = question;
    const headers: Record<string, string> = {
      [HEADER.role]: role,
      [HEADER.via]: via.join(','),
      [HEADER.view]: view,
      [HEADER.node]: this.#self.id,
      [HEADER.size]: String(blob.size),
    };
    if (insists) headers[HEADER.insists] = '1';
    if (urgency?.level === PREFETCH.level) headers[HEADER.urgency] = String(PREFETCH.level);
    if (role === 'owner') {
      headers[HEADER.origin] = blob.url.href;
      if (blob.authorization !== undefined) headers[HEADER.authorization] = blob.authorization;
    }
    const limit = Math.min(PIECE_BYTES, pieceBytes(blob.size, index));
    const answer = await this.#send(peer, {
      method: 'GET',
      path: piecePath(blob.digest, index),
      headers,
      limit,
      pace,
      signal,
    });
    if (answer === TOO_SLOW) return { kind: 'slow' };
    if (typeof answer === 'string') return { kind: 'dead', reason: answer };
    const { status, headers: got, body } = answer;
    if (status === 200) {
      if (Number(got[HEADER.pieceSize]) !== body.length) return { kind: 'dead', reason: 'a short answer' };
      return { kind: 'piece', bytes: body, attestation: got[HEADER.attest] };
    }
    if (status === 502) {
      const failed = Number(got[HEADER.originStatus] ?? 0);
      return { kind: 'origin', status: failed, challenge: got[HEADER.originChallenge] };
    }
    const busyFor = status === 503 ? Number(got[HEADER.retryAfter] ?? Number.NaN) : Number.NaN;
    return { kind: 'next', status, busyFor: busyFor >= 0 ? busyFor : undefined };
  }

  /** Joins or leaves a swarm at a tracker. Undefined when the tracker does not answer. */
  async join(peer: Peer, digest: string, request: JoinRequest, signal?: AbortSignal) {
    const body = Buffer.from(JSON.stringify(request));
    const headers = {
      'content-type': 'application/json',
      'content-length': String(body.length),
      [HEADER.node]: this.#self.id,
    };
    const answer = await this.#send(peer, {
      method: 'POST',
      path: swarmPath(digest),
      headers,
      limit: MAX_BODY,
      body,
      signal,
    });
    return typeof answer === 'string' || answer.status !== 200
      ? undefined
      : parseJoinAnswer(answer.body.toString('utf8'));
  }

  /**
   * Starts a prefetch on a node, asks how far it is, or ends it: the node's answer. Undefined when the node does not answer, or
   * not with a progress.
   */
  async prefetch(
    peer: Peer,
    { method, id, body, authorization }: PrefetchQuestion,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    const headers: Record<string, string> = { [HEADER.node]: this.#self.id };
    if (authorization !== undefined) headers[HEADER.authorization] = authorization;
    if (body !== undefined) headers['content-length'] = String(body.length);
    const path = prefetchPath(id);
    const answer = await this.#send(peer, { method, path, headers, limit: MAX_BODY, body, signal });
    return typeof answer === 'string' || answer.status !== 200 ? undefined : answer.body.toString('utf8');
  }

  /** Connects to a node: why it could not be reached, undefined when it answered. */
  async ping(peer: Peer): Promise<string | undefined> {
    const answer = await this.#send(peer, this.#question(PING_PATH));
    return typeof answer === 'string' ? answer : undefined;
  }

  /** Asks a node to connect back to this one: its answer, or the reason why it gave no answer. */
  async reach(peer: Peer): Promise<ReachAnswer | string> {
    const answer = await this.#send(peer, this.#question(REACH_PATH));
    if (typeof answer === 'string') return answer;
    const parsed = answer.status === 200 ? parseReachAnswer(answer.body.toString('utf8')) : undefined;
    return parsed ?? `it answers ${answer.status}`;
  }

  #question(path: string): Question {
    return { method: 'GET', path, headers: { [HEADER.node]: this.#self.id }, limit: MAX_BODY, signal: undefined };
  }

  /** Ends all connections. */
  close(): void {
    this.#connections.close();
  }

  /** Sends one request. Resolves to the whole answer, or to the reason why none came; rejects when the signal fires. */
  #send(peer: Peer, question: Question, retried = false): Promise<Answer | string> {
    const { piece, connect, pace: every = PACE_EVERY } = this.#deadlines;
    return new Promise((resolve, reject) => {
      const { signal } = question;
      signal?.throwIfAborted();
      checkHeaders(question.headers);
      let done = false;
      let stop: EndExchange | undefined;
      const end = (result: Answer | string | Promise<Answer | string>) => {
        if (done) return;
        done = true;
        timers.clear();
        clearTimeout(total);
        clearInterval(look);
        signal?.removeEventListener('abort', abort);
        // Ends the connection too, where the answer is not whole.
        stop?.();
        if (result !== ABORTED && !(result instanceof Promise))
          this.#onOutcome?.(peer.id, typeof result === 'string' ? result : undefined);
        resolve(result);
      };
      const abort = () => {
        // The caller has left; that says nothing of the node.
        reject(signal?.reason);
        end(ABORTED);
      };
      const timers = new DeadlineTimers(this.#silence(), end);
      const watch = question.pace && new PaceWatch(question.pace, { length: question.limit, within: piece, every });
      const look =
        watch &&
        setInterval(() => {
          if (watch.isTooSlow()) end(TOO_SLOW);
        }, every).unref();
      const total = setTimeout(() => end('the answer takes too long'), piece).unref();
      signal?.addEventListener('abort', abort, { once: true });
      stop = this.#connections.send(peer.id, {
        ...question,
        connecting: () => timers.connecting(connect),
        connected: () => timers.connected(),
        alive: (bytes) => {
          timers.alive();
          watch?.received(bytes);
        },
        answered: end,
        failed: (reason, idle) => end(idle && !retried ? this.#send(peer, question, true) : reason),
      });
      if (stop === undefined) end(BUSY);
    });
  }

  /** Gives others more time, up to a bound, while this process is late: a machine that is busy slows its neighbours as well. */
  #silence(): number {
    const { silence } = this.#deadlines;
    return silence + Math.min(MOST_LENIENCE * silence, LENIENCE * this.#lag());
  }
}

/** A question about a prefetch. */
export interface PrefetchQuestion {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly id: string;
  /** The request, when it starts. */
  readonly body?: Buffer;
  /** The caller's credential, when it starts. */
  readonly authorization?: string | undefined;
}

interface Question {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body?: Buffer | undefined;
  /** Most bytes of an answer. */
  readonly limit: number;
  readonly pace?: Pace | undefined;
  readonly signal: AbortSignal | undefined;
}

/** A node that lives is left: it only says so, or sends too few bytes. */
const TOO_SLOW = 'it lives, and does not send the piece';

/** The caller has left. */
const ABORTED = 'aborted';

/** More requests to one node than it would take. */
const BUSY: Answer = { status: 503, headers: {}, body: Buffer.alloc(0) };

/** Milliseconds of silence that are allowed for each that this process was late, and most of them in lengths of the deadline. */
const LENIENCE = 5;
const MOST_LENIENCE = 3;
