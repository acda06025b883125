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
  /** Namespaces that the failures have to be of, at least; one unless given. */
  readonly namespaces?: number;
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
  /** The last failure by pod. Of each namespace at most as many as open the breaker, and with failures of enough namespaces it opens. */
  readonly #failed = new Map<string, { readonly at: number; readonly namespace: string }>();
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
  failed(pod: string, namespace = ''): void {
    const { now, window, failures, cooldown, namespaces = 1 } = this.#options;
    const { state } = this;
    if (state === 'open') return;
    this.#failed.delete(pod);
    for (const [one, { at }] of this.#failed) if (now() - at > window) this.#failed.delete(one);
    const ofNamespace = [...this.#failed].filter(([, one]) => one.namespace === namespace);
    if (ofNamespace.length >= failures) this.#failed.delete(ofNamespace[0]![0]);
    this.#failed.set(pod, { at: now(), namespace });
    const distinct = new Set([...this.#failed.values()].map((one) => one.namespace)).size;
    if (this.#failed.size < (state === 'trial' ? 1 : failures) || distinct < namespaces) return;
    if (state === 'trial') this.#cooldown = Math.min(this.#cooldown * 2, cooldown * MOST_DOUBLINGS);
    this.#change('open');
  }

  #change(state: BreakerState): void {
    this.#state = state;
    this.#since = this.#options.now();
    this.#failed.clear();
    this.#options.onChange?.(state);
  }
}
