/** The way in which a piece is fetched (contract of this folder). */
import type { Urgency } from '../urgency.ts';

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
