/** The way in which a piece is fetched (contract of this folder). */
import type { Urgency } from '../urgency.ts';
import type { OriginBlob } from './origin.ts';

/** Options of a request for a piece. */
export interface FetchOptions {
  /** Nodes that the request came by. */
  readonly via?: readonly string[];
  readonly signal?: AbortSignal | undefined;
  /** Ask owners directly: a read of a few bytes does not wait for the tree. */
  readonly direct?: boolean;
  /** Prefetches wait behind what clients want. */
  readonly urgency?: Urgency;
}

/** A piece that another node is asked for. */
export interface PieceWish extends FetchOptions {
  readonly blob: OriginBlob;
  readonly index: number;
  /** The node has said that it has the whole blob. */
  readonly holds?: boolean;
}
