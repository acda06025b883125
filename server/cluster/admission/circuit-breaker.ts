/**
 * Stops the rewriting of a mode while its images cannot be pulled. Failures of different pods are counted in a window; as many as
 * allowed open the breaker. After the cooldown rewriting is tried again: the first failure then opens it for twice as long, a window
 * without one closes it.
 */

/** Settings of a breaker; times in milliseconds. */
export interface BreakerOptions {
  readonly failures: number;
  readonly window: number;
  readonly cooldown: number;
  /** A monotonic clock, in milliseconds. */
  readonly now?: () => number;
  readonly onChange?: (state: BreakerState) => void;
}

/** `trial`: rewriting is tried again. */
export type BreakerState = 'closed' | 'open' | 'trial';

/** Longest cooldown, as a multiple of the first. */
const MOST_DOUBLINGS = 12;

/** The breaker of one mode. */
export class CircuitBreaker {
  readonly #options: Required<Pick<BreakerOptions, 'now'>> & BreakerOptions;
  /** Times of the last failure, by pod. At most as many as open the breaker. */
  readonly #failed = new Map<string, number>();
  #state: BreakerState = 'closed';
  #since = 0;
  #cooldown: number;

  constructor(options: BreakerOptions) {
    this.#options = { now: () => performance.now(), ...options };
    this.#cooldown = options.cooldown;
  }

  /** The present state. */
  get state(): BreakerState {
    const { now, window, cooldown } = this.#options;
    if (this.#state === 'open' && now() - this.#since >= this.#cooldown) this.#change('trial');
    if (this.#state === 'trial' && now() - this.#since >= window) {
      this.#cooldown = cooldown;
      this.#change('closed');
    }
    return this.#state;
  }

  /** Records that a pod's rewritten image cannot be pulled. */
  failed(pod: string): void {
    const { now, window, failures, cooldown } = this.#options;
    const { state } = this;
    if (state === 'open') return;
    if (state === 'trial') {
      this.#cooldown = Math.min(this.#cooldown * 2, cooldown * MOST_DOUBLINGS);
      this.#change('open');
      return;
    }
    this.#failed.delete(pod);
    this.#failed.set(pod, now());
    for (const [one, at] of this.#failed) if (now() - at > window) this.#failed.delete(one);
    if (this.#failed.size >= failures) this.#change('open');
  }

  #change(state: BreakerState): void {
    this.#state = state;
    this.#since = this.#options.now();
    this.#failed.clear();
    this.#options.onChange?.(state);
  }
}
