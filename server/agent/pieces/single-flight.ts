/** One piece of work for all who want its result at the same time. */
import { mostUrgent, STREAM, type Urgency } from '../urgency.ts';

/** A flight as its own work sees it. */
export interface Course {
  /** From now on the work is worth finishing: when all who wait have left, it goes on for a while for whoever comes next. */
  keep(): void;
  /** Whether anybody waits for the result now. */
  isAwaited(): boolean;
}

/** Work that is run for all; its signal fires when it is to end. It is as urgent as the most urgent of those who wait. */
export type FlightWork<T> = (signal: AbortSignal, urgency: Urgency, course: Course) => Promise<T>;

/** For results that hold something. */
export interface Sharing<T> {
  /** The result for one of those who waited. */
  readonly share: (result: T) => T;
  /** All who waited have theirs. */
  readonly letGo: (result: T) => void;
}

/** Milliseconds for which work that is worth finishing goes on after the last one has left. */
const FINISH_WITHIN = 30_000;

/**
 * Runs work once a key. When the last one who waits for it gives up, the work is aborted: at once, or some time later where it
 * is worth finishing ({@link Course}).
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();
  readonly #sharing: Sharing<T> | undefined;
  readonly #finishWithin: number;

  /** Without `sharing` all who wait get the same result. */
  constructor(sharing?: Sharing<T>, finishWithin = FINISH_WITHIN) {
    this.#sharing = sharing;
    this.#finishWithin = finishWithin;
  }

  /** Keys with work under way. */
  get size(): number {
    return this.#flights.size;
  }

  /** Whether work for `key` is under way. */
  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /**
   * The result of the work under way for `key`, or of `work`, which is started. Rejects with the reason of `signal` when that
   * fires first.
   */
  async run(key: string, work: FlightWork<T>, signal?: AbortSignal, urgency: Urgency = STREAM): Promise<T> {
    signal?.throwIfAborted();
    // An object of its own for each who waits, which looks at the level that was given.
    const mine: Urgency = {
      get level() {
        return urgency.level;
      },
    };
    const flight = this.#flights.get(key) ?? this.#begin(key);
    flight.join(mine, work);
    let leave: (() => void) | undefined;
    try {
      if (signal === undefined) return this.#share(await flight.result);
      const left = new Promise<never>((_, reject) => {
        leave = () => reject(signal.reason);
        signal.addEventListener('abort', leave, { once: true });
      });
      return this.#share(await Promise.race([flight.result, left]));
    } finally {
      if (leave !== undefined) signal?.removeEventListener('abort', leave);
      flight.leave(mine, signal?.reason);
    }
  }

  #begin(key: string): Flight<T> {
    const flight: Flight<T> = new Flight({
      finishWithin: this.#finishWithin,
      land: () => {
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
      },
      letGo: (result) => this.#sharing?.letGo(result),
    });
    this.#flights.set(key, flight);
    return flight;
  }

  #share(result: T): T {
    return this.#sharing === undefined ? result : this.#sharing.share(result);
  }
}

interface FlightEnds<T> {
  readonly finishWithin: number;
  /** Nobody is to join from now on. */
  readonly land: () => void;
  readonly letGo: (result: T) => void;
}

class Flight<T> {
  readonly #ends: FlightEnds<T>;
  readonly #controller = new AbortController();
  /** The urgencies of those who wait, one each. */
  readonly #waiters = new Set<Urgency>();
  #result: Promise<T> | undefined;
  #isOver = false;
  /** The urgency at which it goes on when all have left. */
  #kept: Urgency | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(ends: FlightEnds<T>) {
    this.#ends = ends;
  }

  get result(): Promise<T> {
    return this.#result!;
  }

  /** The first one who joins starts the work. */
  join(mine: Urgency, work: FlightWork<T>): void {
    clearTimeout(this.#timer);
    this.#waiters.add(mine);
    this.#result ??= this.#start(work);
  }

  leave(mine: Urgency, reason: unknown): void {
    this.#waiters.delete(mine);
    if (this.#waiters.size > 0) return;
    if (this.#isOver) this.#letGo();
    else if (this.#kept === undefined) this.#end(reason);
    else {
      this.#timer = setTimeout(() => this.#end(new Error('nobody waits for it')), this.#ends.finishWithin);
      this.#timer.unref();
    }
  }

  #end(reason: unknown): void {
    this.#ends.land();
    this.#controller.abort(reason);
  }

  #start(work: FlightWork<T>): Promise<T> {
    const awaited = mostUrgent(this.#waiters);
    const current = () => (this.#waiters.size > 0 ? awaited : (this.#kept ?? awaited));
    const urgency: Urgency = {
      get level() {
        return current().level;
      },
    };
    const course: Course = {
      keep: () => {
        this.#kept ??= { level: urgency.level };
      },
      isAwaited: () => this.#waiters.size > 0,
    };
    const result = work(this.#controller.signal, urgency, course).finally(() => {
      this.#isOver = true;
      clearTimeout(this.#timer);
      this.#ends.land();
    });
    // Those who wait hear of a failure; when all have left, nobody does.
    result.then(
      () => {
        if (this.#waiters.size === 0) this.#letGo();
      },
      () => undefined,
    );
    return result;
  }

  #letGo(): void {
    this.#result?.then(this.#ends.letGo).catch(() => undefined);
  }
}
