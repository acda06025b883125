/**
 * Says which nodes are not to be waited for: those that sent wrong bytes, and those that promise a piece and do not send it.
 * Signs of life, and a byte now and then, meet every deadline of the protocol; a client would wait half a minute for each piece.
 */
import { LRUCache } from 'lru-cache';
import { atMost } from '../at-most.ts';

/** Describes a node while it is asked for a piece. */
export interface Pace {
  /** The node has said that it has the whole blob: it has nothing to wait for. */
  readonly holds: boolean;
  /** Whether the node is distrusted meanwhile. */
  readonly distrusted: () => boolean;
}

/** Milliseconds between two looks: the time in which a body may not stall. */
export const PACE_EVERY = 5_000;
/** Milliseconds for which a distrusted node is not asked, whatever else it says. */
const DISTRUST_FOR = 60_000;
const MOST_DISTRUSTED = 10_000;

/** Looks at one request from time to time: whether the piece comes too slowly. */
export class PaceWatch {
  readonly #pace: Pace;
  readonly #least: number;
  #filled = 0;
  #before = 0;

  /** `length` in bytes, `within` in milliseconds: the pace at which a piece would take all of its time is too slow. */
  constructor(pace: Pace, { length, within, every }: { length: number; within: number; every: number }) {
    this.#pace = pace;
    this.#least = (length * every) / within;
  }

  /** So many bytes of the piece are here. */
  received(bytes: number): void {
    this.#filled = bytes;
  }

  /** Called after each {@link PACE_EVERY}. An owner that only waits may do so for a slow registry, and is not too slow. */
  isTooSlow(): boolean {
    const gained = this.#filled - this.#before;
    const begun = this.#before > 0;
    this.#before = this.#filled;
    return gained < this.#least && (begun || this.#pace.holds || this.#pace.distrusted());
  }
}

/** See the head of the file. */
export class PeerPace {
  readonly #distrusted = new LRUCache<string, true>({ ...atMost(MOST_DISTRUSTED), ttl: DISTRUST_FOR });

  /** Whether a node is left out, although it says that it lives. */
  isDistrusted(id: string): boolean {
    return this.#distrusted.has(id);
  }

  /** A node sent wrong bytes, or too few. */
  distrust(id: string): void {
    this.#distrusted.set(id, true);
  }

  /** The pace of a request that is sent to a node now. */
  of(id: string, holds: boolean): Pace {
    return { holds, distrusted: () => this.isDistrusted(id) };
  }
}
