/** Parses a request to prefetch an image, and defines what the agent reports of it: JSON of `POST` and `GET /api/v1/prefetch`. */
import { isRecord } from '../../../base/is-record.ts';
import { pieceBytes, pieceCount } from '../../../formats/piece-list/piece-list.ts';
import { isPieceDigest } from '../peers/wire.ts';

/** Pieces of one blob. */
export interface PrefetchBlob {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  /** Half-open ranges of pieces, ascending. */
  readonly pieces: readonly (readonly [number, number])[];
}

/** The pieces to bring to a node. */
export interface PrefetchRequest {
  /** `host[:port]` as the configuration names it. */
  readonly registry: string;
  readonly repository: string;
  readonly blobs: readonly PrefetchBlob[];
}

/** The state of a prefetch: `unreachable` is for other nodes alone. */
export type PrefetchState = 'running' | 'done' | 'failed' | 'cancelled' | 'unreachable';

/** The progress of a prefetch on one node. */
export interface PrefetchProgress {
  readonly state: PrefetchState;
  /** Pieces: wanted, here, and those that could not be had. */
  readonly pieces: { readonly total: number; readonly done: number; readonly failed: number };
  readonly bytes: { readonly total: number; readonly done: number };
  /** The first failure; its status is the registry's, 0 where there was no answer. */
  readonly problem?: { readonly status: number; readonly message: string };
}

const STATES: readonly PrefetchState[] = ['running', 'done', 'failed', 'cancelled', 'unreachable'];
/** Largest request, in bytes. */
export const MAX_PREFETCH_REQUEST = 2 * 1024 * 1024;
const MOST_BLOBS = 2_000;
const MOST_RANGES = 100_000;
const MOST_PIECES = 2_000_000;
const HOST = /^[A-Za-z0-9.[\]:-]{1,255}$/;
const REPOSITORY = /^[a-z0-9]+(?:[._/-]+[a-z0-9]+)*$/;

/** Parses a request; returns the reason where the text is something else. */
export function parsePrefetchRequest(text: string): PrefetchRequest | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'the body is not JSON';
  }
  if (!isRecord(value)) return 'the body is not an object';
  const { registry, repository, blobs } = value;
  if (typeof registry !== 'string' || !HOST.test(registry)) return 'registry is not a host';
  if (typeof repository !== 'string' || repository.length > 255 || !REPOSITORY.test(repository))
    return 'repository is not a name of a repository';
  if (!Array.isArray(blobs) || blobs.length === 0 || blobs.length > MOST_BLOBS)
    return `blobs is not a list of 1 to ${MOST_BLOBS}`;
  const parsed: PrefetchBlob[] = [];
  let ranges = 0;
  let pieces = 0;
  for (const blob of blobs as unknown[]) {
    const one = parseBlob(blob);
    if (one === undefined) return `blob ${parsed.length + 1} is not a digest, a size and ascending ranges of pieces`;
    ranges += one.pieces.length;
    for (const [first, end] of one.pieces) pieces += end - first;
    if (ranges > MOST_RANGES || pieces > MOST_PIECES) return 'the request names too many pieces';
    parsed.push(one);
  }
  return { registry, repository, blobs: parsed };
}

function parseBlob(value: unknown): PrefetchBlob | undefined {
  if (!isRecord(value)) return undefined;
  const { digest, size, pieces } = value;
  if (typeof digest !== 'string' || !isPieceDigest(digest)) return undefined;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0 || !Array.isArray(pieces)) return undefined;
  const ranges: [number, number][] = [];
  let last = 0;
  for (const range of pieces as unknown[]) {
    if (!Array.isArray(range) || range.length !== 2) return undefined;
    const [first, end] = range as unknown[];
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(end)) return undefined;
    if ((first as number) < last || (end as number) <= (first as number) || (end as number) > pieceCount(size))
      return undefined;
    ranges.push([first as number, end as number]);
    last = end as number;
  }
  return { digest, size, pieces: ranges };
}

/** The pieces of a request, blob by blob, with the bytes of each. */
export function* piecesOfRequest({ blobs }: PrefetchRequest): Generator<{
  readonly blob: PrefetchBlob;
  readonly index: number;
  readonly bytes: number;
}> {
  for (const blob of blobs)
    for (const [first, end] of blob.pieces)
      for (let index = first; index < end; index++) yield { blob, index, bytes: pieceBytes(blob.size, index) };
}

/** The progress that another node reports; undefined for anything else. */
export function parsePrefetchProgress(text: string): PrefetchProgress | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Not JSON: the node does not speak this protocol.
    return undefined;
  }
  if (!isRecord(value) || !isRecord(value.pieces) || !isRecord(value.bytes)) return undefined;
  const { state, pieces, bytes, problem } = value;
  if (!STATES.includes(state as PrefetchState)) return undefined;
  const count = (number: unknown): number => (Number.isSafeInteger(number) ? (number as number) : 0);
  const message = isRecord(problem) && typeof problem.message === 'string' ? problem.message.slice(0, 500) : undefined;
  return {
    state: state as PrefetchState,
    pieces: { total: count(pieces.total), done: count(pieces.done), failed: count(pieces.failed) },
    bytes: { total: count(bytes.total), done: count(bytes.done) },
    ...(message === undefined
      ? {}
      : { problem: { status: count((problem as Record<string, unknown>).status), message } }),
  };
}
