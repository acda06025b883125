/**
 * The breakers of one mode: one for each namespace whose pods fail, and one for all, which only failures of two namespaces open. So whoever
 * makes pods in one of them cannot end the rewriting of the others.
 */
import { LRUCache } from 'lru-cache';
import { type BreakerOptions, type BreakerState, CircuitBreaker } from './circuit-breaker.ts';

/** Settings: those of each breaker. */
export interface ModeBreakerOptions extends Pick<BreakerOptions, 'failures' | 'window' | 'cooldown' | 'now'> {
  /** `namespace` is undefined for the breaker of all. */
  readonly onChange?: (state: BreakerState, namespace: string | undefined) => void;
}

/** Namespaces whose breakers are kept; the one that failed the longest ago is forgotten first. */
const MOST_NAMESPACES = 1_000;
/** Namespaces that the failures for the breaker of all are of. */
const NAMESPACES = 2;

/** See the head of the file. */
export class ModeBreaker {
  readonly #options: ModeBreakerOptions;
  readonly #all: CircuitBreaker;
  readonly #own = new LRUCache<string, CircuitBreaker>({ max: MOST_NAMESPACES });

  constructor(options: ModeBreakerOptions) {
    this.#options = options;
    this.#all = this.#breaker(undefined);
  }

  /** The state that hinders most, of all breakers. */
  get state(): BreakerState {
    const states = new Set([this.#all.state, ...[...this.#own.values()].map(({ state }) => state)]);
    return states.has('open') ? 'open' : states.has('trial') ? 'trial' : 'closed';
  }

  /** Whether the images of a namespace's pods stay as they are. */
  isOpen(namespace: string): boolean {
    return this.#all.state === 'open' || this.#own.peek(namespace)?.state === 'open';
  }

  /** Records that a pod's rewritten image cannot be pulled. */
  failed(pod: string, namespace: string): void {
    const own = this.#own.get(namespace) ?? this.#breaker(namespace);
    this.#own.set(namespace, own);
    own.failed(pod, namespace);
    this.#all.failed(`${namespace}/${pod}`, namespace);
  }

  #breaker(namespace: string | undefined): CircuitBreaker {
    const { onChange, ...common } = this.#options;
    return new CircuitBreaker({
      ...common,
      namespaces: namespace === undefined ? NAMESPACES : 1,
      onChange: (state) => onChange?.(state, namespace),
    });
  }
}
