/** The protocol between agents: paths, headers and bodies (docs/agent.md, "Between agents"). HTTP/1.1, port 65002. */
import { isRecord } from '../../../base/is-record.ts';
import type { Peer } from './topology.ts';

/** Header names, in lower case as node:http has them. */
export const HEADER = {
  role: 'x-accel-role',
  via: 'x-accel-via',
  view: 'x-accel-view',
  insists: 'x-accel-insists',
  /** `2`: a prefetch, which waits behind what clients want. */
  urgency: 'x-accel-urgency',
  node: 'x-accel-node',
  origin: 'x-accel-origin',
  authorization: 'x-accel-authorization',
  size: 'x-accel-size',
  pieceSha256: 'x-accel-piece-sha256',
  pieceSize: 'x-accel-piece-size',
  attest: 'x-accel-attest',
  originStatus: 'x-accel-origin-status',
  originChallenge: 'x-accel-origin-challenge',
  retryAfter: 'retry-after-ms',
} as const;

/** As what a node is asked for a piece: as one of a tree, or as an owner, which may ask the origin. */
export type Role = 'tree' | 'owner';

/** Milliseconds between two signs of life while a piece is on its way. */
export const ALIVE_EVERY = 500;

/** Longest path of nodes that a request may come by. */
export const MOST_HOPS = 16;

/** Body of `POST /p2p/v1/swarm/<digest>`. */
export interface JoinRequest {
  readonly id: string;
  readonly zone: string;
  /** Version of the sender's view. */
  readonly view: string;
  /** The sender no longer wants the blob. */
  readonly leaving?: boolean;
  /** The sender has the whole blob. */
  readonly complete?: boolean;
}

/** Its answer. */
export interface JoinAnswer {
  /** Nodes that want the blob: id, zone. */
  readonly members: readonly (readonly [string, string])[];
  /** Nodes that have the whole blob. */
  readonly holders: readonly (readonly [string, string])[];
  /** Seconds for which the sender counts as a member. */
  readonly ttl: number;
}

/** Largest body of the protocol, in bytes: 10,000 members with their zones. */
export const MAX_BODY = 2 * 1024 * 1024;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Whether a text is a digest that the piece store takes. */
export function isPieceDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** Path of a piece. */
export function piecePath(digest: string, index: number): string {
  return `/p2p/v1/blobs/${digest}/pieces/${index}`;
}

/** Path of a blob's swarm. */
export function swarmPath(digest: string): string {
  return `/p2p/v1/swarm/${digest}`;
}

/** Path of a prefetch of several nodes. */
export function prefetchPath(id: string): string {
  return `/p2p/v1/prefetch/${id}`;
}

/** The id of the prefetch that a path names. */
export function parsePrefetchPath(path: string): string | undefined {
  return /^\/p2p\/v1\/prefetch\/([0-9a-f]{32})$/.exec(path)?.[1];
}

/** Path that answers anyone of the network: whether a node can be reached. */
export const PING_PATH = '/p2p/v1/ping';

/** Path that lets a node connect back to the caller: its {@link ReachAnswer}. */
export const REACH_PATH = '/p2p/v1/reach';

/** Result of connecting back. */
export interface ReachAnswer {
  /** Why the caller could not be reached; absent when it was. */
  readonly failure?: string;
  /** The node's clock, in milliseconds. */
  readonly time: number;
  /** The node's version of accel. */
  readonly version: string;
}

/** An answer about reaching back; undefined for anything else. */
export function parseReachAnswer(text: string): ReachAnswer | undefined {
  const value = parse(text);
  if (value === undefined || typeof value.time !== 'number' || typeof value.version !== 'string') return undefined;
  const { failure, time, version } = value;
  return {
    time,
    version: version.slice(0, 100),
    ...(typeof failure === 'string' ? { failure: failure.slice(0, 500) } : {}),
  };
}

/** The piece that a path names. */
export function parsePiecePath(path: string): { readonly digest: string; readonly index: number } | undefined {
  const match = /^\/p2p\/v1\/blobs\/([^/]+)\/pieces\/(0|[1-9]\d{0,7})$/.exec(path);
  return match === null || !isPieceDigest(match[1]!) ? undefined : { digest: match[1]!, index: Number(match[2]) };
}

/** The digest of the swarm that a path names. */
export function parseSwarmPath(path: string): string | undefined {
  const match = /^\/p2p\/v1\/swarm\/([^/]+)$/.exec(path);
  return match === null || !isPieceDigest(match[1]!) ? undefined : match[1]!;
}

/** A join request; undefined for anything else. */
export function parseJoinRequest(text: string): JoinRequest | undefined {
  const value = parse(text);
  if (value === undefined) return undefined;
  const { id, zone, view, leaving, complete } = value;
  if (typeof id !== 'string' || typeof zone !== 'string' || typeof view !== 'string') return undefined;
  if (id.length > 100 || zone.length > 100) return undefined;
  return { id, zone, view, leaving: leaving === true, complete: complete === true };
}

/** An answer to a join request; undefined for anything else. */
export function parseJoinAnswer(text: string): { readonly members: Peer[]; readonly holders: Peer[] } | undefined {
  const value = parse(text);
  return value === undefined ? undefined : { members: peersIn(value.members), holders: peersIn(value.holders) };
}

function peersIn(value: unknown): Peer[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown) => {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || typeof entry[1] !== 'string') return [];
    return [{ id: entry[0], zone: entry[1] }];
  });
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    // Not JSON: the caller reports a body that is not of the protocol.
    return undefined;
  }
}
