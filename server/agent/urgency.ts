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

/** Milliseconds without work for clients before prefetches go on: a client that reads on comes back sooner. */
const GRACE = 50;

/**
 * The work that clients wait for, on this node and for other nodes. Prefetches pause while there is any, and for a moment
 * after it.
 */
export class Foreground {
  readonly #grace: number;
  #active = 0;
  #ended: NodeJS.Timeout | undefined;
  readonly #paused = new Set<() => void>();
  readonly #running = new Set<() => void>();

  /** `grace`: milliseconds without work for clients before prefetches go on. */
  constructor(grace = GRACE) {
    this.#grace = grace;
  }

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
    clearTimeout(this.#ended);
    this.#ended = undefined;
    // A client may now wait for work that pauses or is about to.
    const running = work();
    for (const begin of [...this.#running]) begin();
    this.#wake();
    try {
      return await running;
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#end();
    }
  }

  /** Resolves when work of this urgency may go on: at once, unless it is a prefetch. Rejects with the signal's reason. */
  async pass(urgency: Urgency, signal?: AbortSignal): Promise<void> {
    while (this.holds(urgency)) {
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

  /** Calls `leave` when a client begins to wait for other work than this, of this urgency; call what it returns at the end. */
  whenHeld(urgency: Urgency, leave: () => void): () => void {
    const begin = () => {
      if (this.holds(urgency)) leave();
    };
    this.#running.add(begin);
    return () => this.#running.delete(begin);
  }

  /** Whether work of this urgency has to wait for clients. */
  holds(urgency: Urgency): boolean {
    return urgency.level === PREFETCH.level && (this.#active > 0 || this.#ended !== undefined);
  }

  #end(): void {
    this.#ended = setTimeout(() => {
      this.#ended = undefined;
      this.#wake();
    }, this.#grace);
    this.#ended.unref();
  }

  #wake(): void {
    for (const go of [...this.#paused]) go();
  }
}
