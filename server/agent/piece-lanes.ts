/**
 * Decides which pieces are asked for next, and how many at once. Clients of one node want several layers of an image at the
 * same time: the lower layers' pieces come first, because a runtime unpacks them first, and because nodes that want the same
 * pieces in the same order share each one as soon as it is there. A link that is slow gets few requests: many at once would
 * end together, and what they brought would have to be passed on in one burst.
 */
import { unlessAborted } from './limits.ts';

/** Pieces at once from one registry and its peers: at the start, at least and at most. */
const FIRST = 4;
const LEAST = 3;
const MOST = 64;
/** Milliseconds: pieces that come sooner widen the limit by one, one that takes longer halves it. */
const QUICK = 500;
const SLOW = 1_000;
/** Milliseconds without a piece after which nothing is known of a link any more. */
const IDLE = 1_000;
/** Milliseconds after which a piece is the next one, whatever its place. */
const PATIENCE = 20_000;
/** Registries whose limits are kept while nothing is asked of them. */
const MOST_IDLE = 1000;

/** The place of a piece among those that wait: lower ones first, equal ones in the order in which they came. */
export interface Place {
  /** Whose link it comes by, `host[:port]`. */
  readonly host: string;
  /** The position of its layer in the image; lower ones first. */
  readonly position: number;
}

interface Waiting {
  readonly position: number;
  readonly since: number;
  readonly enter: () => void;
}

interface Lane {
  limit: number;
  running: number;
  /** Pieces that have come, for better or worse. */
  done: number;
  /** When the last of them came, and when the limit was narrowed last. */
  last: number;
  narrowed: number;
  readonly queue: Set<Waiting>;
}

/** See the head of the file. */
export class ReadAhead {
  readonly #now: () => number;
  readonly #lanes = new Map<string, Lane>();

  /** `now` in milliseconds; grows steadily. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Pieces of a registry that have come so far: it grows while those that wait get nearer to their turn. */
  progress(host: string): number {
    return this.#lanes.get(host)?.done ?? 0;
  }

  /** Pieces that a registry may be asked for at once now. */
  limit(host: string): number {
    return this.#lanes.get(host)?.limit ?? FIRST;
  }

  /** Runs `task` when it is its turn. Rejects with the signal's reason. */
  async run<T>({ host, position }: Place, task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const lane = this.#lane(host);
    if (lane.running === 0 && this.#now() - lane.last > IDLE) lane.limit = FIRST;
    await this.#turn(lane, position, signal);
    const started = this.#now();
    try {
      const result = await task();
      adapt(lane, started, this.#now());
      return result;
    } finally {
      lane.running -= 1;
      lane.done += 1;
      lane.last = this.#now();
      this.#admit(lane);
    }
  }

  async #turn(lane: Lane, position: number, signal: AbortSignal): Promise<void> {
    let waiting: Waiting | undefined;
    let entered = false;
    const turn = new Promise<void>((resolve) => {
      const enter = () => {
        entered = true;
        resolve();
      };
      waiting = { position, since: this.#now(), enter };
    });
    lane.queue.add(waiting!);
    this.#admit(lane);
    try {
      await unlessAborted(turn, signal);
    } catch (error) {
      lane.queue.delete(waiting!);
      if (entered) {
        lane.running -= 1;
        this.#admit(lane);
      }
      throw error;
    }
  }

  #admit(lane: Lane): void {
    while (lane.running < lane.limit) {
      const next = this.#next(lane);
      if (next === undefined) return;
      lane.queue.delete(next);
      lane.running += 1;
      next.enter();
    }
  }

  /** The one that has waited too long, or the one with the lowest place. A set keeps the order in which they came. */
  #next({ queue }: Lane): Waiting | undefined {
    let best: Waiting | undefined;
    for (const waiting of queue) {
      if (best === undefined && this.#now() - waiting.since > PATIENCE) return waiting;
      if (best === undefined || waiting.position < best.position) best = waiting;
    }
    return best;
  }

  #lane(host: string): Lane {
    let lane = this.#lanes.get(host);
    if (lane === undefined) {
      const now = this.#now();
      lane = { limit: FIRST, running: 0, done: 0, last: now, narrowed: now, queue: new Set() };
      for (const [other, { running, queue }] of this.#lanes) {
        if (this.#lanes.size < MOST_IDLE) break;
        if (running === 0 && queue.size === 0) this.#lanes.delete(other);
      }
      this.#lanes.set(host, lane);
    }
    return lane;
  }
}

function adapt(lane: Lane, started: number, now: number): void {
  const milliseconds = now - started;
  // A limit that is not reached is not tried out.
  if (milliseconds < QUICK) {
    if (lane.queue.size > 0) lane.limit = Math.min(MOST, lane.limit + 1);
  } else if (milliseconds > SLOW && started >= lane.narrowed) {
    // Those that were asked for before the limit was narrowed say nothing about the new one.
    lane.limit = Math.max(LEAST, lane.limit >> 1);
    lane.narrowed = now;
  }
}
