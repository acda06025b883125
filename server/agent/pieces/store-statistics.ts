/** Figures of the pieces that a node has. */

/** Figures of a store. */
export interface StoreStatistics {
  /** Bytes that the store may use on disk. */
  readonly allocated: number;
  /** Bytes on disk; never above {@link StoreStatistics.allocated}. */
  readonly used: number;
  readonly memory: number;
  readonly pieces: number;
  /** Pieces that wait to be written. */
  readonly queued: number;
  /** Pieces that were found damaged on disk, and removed. */
  readonly damaged: number;
  /** Pieces that could not be written: the disk is full, or failed. */
  readonly unwritten: number;
}
