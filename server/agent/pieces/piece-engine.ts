/**
 * Defines what an agent asks for pieces where another system shares them (contract). The bytes are checked like the registry's
 * own, and the registry is asked for whatever does not come.
 */
import type { OriginBlob } from './origin.ts';

/** The system that distributes bytes between nodes. */
export type EngineName = 'builtin' | 'dragonfly' | 'spegel' | 'none';

/** The answer of an engine: a piece, or the reason for none. */
export type EngineAnswer =
  | { readonly kind: 'piece'; readonly bytes: Buffer }
  /** Ask the registry. `reason` is a word of a bounded set, for the metric. */
  | { readonly kind: 'none'; readonly reason: string };

/** A program of the node that is asked for bytes. */
export interface PieceEngine {
  /** A piece of a blob. Rejects only with the signal's reason. */
  piece(blob: OriginBlob, index: number, signal: AbortSignal | undefined): Promise<EngineAnswer>;
  /** Ends its connections. */
  close(): void;
}
