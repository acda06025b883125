/**
 * Ranks work by urgency, and serves the most urgent first. Work that was begun for a prefetch becomes urgent when a
 * client asks for the same piece: whoever waits for it must not wait behind the clients of other pieces.
 */

/** The urgency of some work at this moment. */
export interface Urgency {
  /** 0: somebody waits for a few bytes; 1: a client streams a blob; 2: nobody waits. */
  readonly level: 0 | 1 | 2;
}

/** A read of a few bytes that a device or client waits for. */
export const DIRECT: Urgency = { level: 0 };
/** The pieces of a blob that a client streams. */
export const STREAM: Urgency = { level: 1 };
/** Pieces that nobody waits for yet. */
export const PREFETCH: Urgency = { level: 2 };

/** The urgency of the most urgent of `all`, at the moment when it is looked at. */
export function mostUrgent(all: ReadonlySet<Urgency>): Urgency {
  return {
    get level() {
      let level: Urgency['level'] = 2;
      for (const one of all) if (one.level < level) level = one.level;
      return level;
    },
  };
}

/** Conditions of a wait. */
export interface WaitOptions {
  readonly urgency: Urgency;
  readonly signal: AbortSignal | undefined;
}

interface Waiter<T> {
  readonly item: T;
  readonly urgency: Urgency;
  readonly resolve: () => void;
}

/** Callers that wait for their turn. */
export class UrgencyQueue<T> {
  readonly #waiters: Waiter<T>[] = [];

  /** Callers that wait. */
  get size(): number {
    return this.#waiters.length;
  }

  /** Resolves in the caller's turn. Rejects with the signal's reason; the caller then has no turn. */
  wait(item: T, { urgency, signal }: WaitOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter<T> = {
        item,
        urgency,
        resolve: () => {
          signal?.removeEventListener('abort', leave);
          resolve();
        },
      };
      const leave = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(signal?.reason);
      };
      this.#waiters.push(waiter);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  /** Gives the turn to the most urgent caller, of equals to the first; its item, or undefined where nobody waits. */
  next(): T | undefined {
    let best = 0;
    // Looked at now: a caller may have become more urgent while it waited.
    for (let at = 1; at < this.#waiters.length; at++)
      if (this.#waiters[at]!.urgency.level < this.#waiters[best]!.urgency.level) best = at;
    const [chosen] = this.#waiters.splice(best, 1);
    chosen?.resolve();
    return chosen?.item;
  }
}

/**
 * The work that clients wait for, on this node and for other nodes. Prefetches pause while there is any, in the middle of a
 * piece too.
 */
export class Foreground {
  #active = 0;
  readonly #paused = new Set<() => void>();

  /** Pieces that clients wait for. */
  get active(): number {
    return this.#active;
  }

  /** Prefetches that pause. */
  get paused(): number {
    return this.#paused.size;
  }

  /** Runs work of this urgency, and counts it while it runs unless it is a prefetch. */
  async during<T>(urgency: Urgency, work: () => Promise<T>): Promise<T> {
    if (urgency.level === PREFETCH.level) return work();
    this.#active += 1;
    // A client may now wait for work that pauses.
    const running = work();
    this.#wake();
    try {
      return await running;
    } finally {
      this.#active -= 1;
      this.#wake();
    }
  }

  /** Resolves when work of this urgency may go on: at once, unless it is a prefetch. Rejects with the signal's reason. */
  async pass(urgency: Urgency, signal?: AbortSignal): Promise<void> {
    while (urgency.level === PREFETCH.level && this.#active > 0) {
      signal?.throwIfAborted();
      await new Promise<void>((resolve) => {
        const go = () => {
          this.#paused.delete(go);
          signal?.removeEventListener('abort', go);
          resolve();
        };
        this.#paused.add(go);
        signal?.addEventListener('abort', go, { once: true });
      });
    }
  }

  #wake(): void {
    for (const go of [...this.#paused]) go();
  }
}
