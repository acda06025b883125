/**
 * Answers which accelerated image an image has, from memory where it was asked a moment ago. An answer counts for a bounded time;
 * one that is in use is renewed before that ends, so that pods seldom wait. A registry that does not answer is left alone for some
 * seconds, so that the next pods do not wait for it at all.
 */
import { LRUCache } from 'lru-cache';
import { asAccelError } from '../../../base/error.ts';
import type { ImageName } from '../rewrite/image-name.ts';
import type { AcceleratedAnswer } from '../rewrite.ts';
import type { ConversionFinder } from './find-conversion.ts';
import type { RegistryPools } from './registry-pools.ts';

/** Settings of the answers. */
export interface AcceleratedImagesOptions {
  readonly pools: RegistryPools;
  readonly finder: ConversionFinder;
  /** Milliseconds for which an answer counts. */
  readonly staleness: number;
  /** A monotonic clock, in milliseconds. */
  readonly now?: () => number;
  /** Called with the outcome of each lookup and its seconds. */
  readonly onLookup?: (outcome: string, seconds: number) => void;
}

/** Answers that are remembered. */
const MOST_ANSWERS = 20_000;
/** Lookups at a time; more are refused at once. */
const MOST_LOOKUPS = 256;
/** Milliseconds for one lookup. Nobody waits that long, and the answer counts for the next pods. */
const LOOKUP_TIME = 10_000;
/** Milliseconds for which a registry that did not answer is not asked. */
const REST = 5_000;

interface Known {
  readonly answer: AcceleratedAnswer;
  readonly at: number;
}

/** Answers by image. */
export class AcceleratedImages {
  readonly #options: AcceleratedImagesOptions;
  readonly #known = new LRUCache<string, Known>({ max: MOST_ANSWERS });
  readonly #lookups = new Map<string, Promise<AcceleratedAnswer>>();
  /** Until when registries are not asked, by host. */
  readonly #resting = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #now: () => number;

  constructor(options: AcceleratedImagesOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Answers that are remembered, and lookups that go on. */
  get figures(): { readonly known: number; readonly lookups: number } {
    return { known: this.#known.size, lookups: this.#lookups.size };
  }

  /** The answer, at the latest when the signal fires: `timed-out` then. Never throws. */
  async find(image: ImageName, signal: AbortSignal): Promise<AcceleratedAnswer> {
    const key = `${image.registry}/${image.repository}:${image.tag ?? ''}@${image.digest ?? ''}`;
    const known = this.#known.get(key);
    const age = known === undefined ? Number.POSITIVE_INFINITY : this.#now() - known.at;
    const { staleness } = this.#options;
    if (known !== undefined && age < staleness) {
      if (age > staleness / 2 && !this.#lookups.has(key) && this.#mayAsk(image)) void this.#ask(key, image);
      return known.answer;
    }
    // A pod has waited for this registry a moment ago, in vain.
    if (!this.#mayAsk(image)) return this.#lookups.has(key) ? 'timed-out' : 'registry-unreachable';
    if (!this.#lookups.has(key) && this.#lookups.size >= MOST_LOOKUPS) return 'timed-out';
    const lookup = this.#lookups.get(key) ?? this.#ask(key, image);
    return this.#within(lookup, image, signal);
  }

  /** Ends all lookups. */
  close(): void {
    this.#stop.abort();
  }

  async #within(lookup: Promise<AcceleratedAnswer>, image: ImageName, signal: AbortSignal): Promise<AcceleratedAnswer> {
    if (signal.aborted) return 'timed-out';
    let onAbort = (): void => undefined;
    const late = new Promise<AcceleratedAnswer>((resolve) => {
      onAbort = () => {
        this.#resting.set(image.registry, this.#now() + REST);
        resolve('timed-out');
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return await Promise.race([lookup, late]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #mayAsk({ registry }: ImageName): boolean {
    return this.#now() >= (this.#resting.get(registry) ?? 0);
  }

  #ask(key: string, image: ImageName): Promise<AcceleratedAnswer> {
    const started = this.#now();
    const lookup = this.#look(image)
      .then((answer) => {
        // The age counts from the question: what was answered later may have been read then.
        this.#known.set(key, { answer, at: started });
        this.#resting.delete(image.registry);
        return answer;
      })
      .catch((error: unknown): AcceleratedAnswer => {
        const { code } = asAccelError(error);
        if (code === 'unauthorized') {
          this.#known.set(key, { answer: 'registry-denied', at: started });
          return 'registry-denied';
        }
        this.#resting.set(image.registry, this.#now() + REST);
        return 'registry-unreachable';
      })
      .then((answer) => {
        this.#options.onLookup?.(typeof answer === 'string' ? answer : 'found', (this.#now() - started) / 1000);
        return answer;
      })
      .finally(() => this.#lookups.delete(key));
    this.#lookups.set(key, lookup);
    return lookup;
  }

  async #look(image: ImageName): Promise<AcceleratedAnswer> {
    const { pools, finder } = this.#options;
    const target = await pools.repository(image.registry, image.repository);
    return finder.find(target, image, AbortSignal.any([this.#stop.signal, AbortSignal.timeout(LOOKUP_TIME)]));
  }
}
