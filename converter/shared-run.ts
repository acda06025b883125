/**
 * Everything that the conversions of one process share: threads, bounds, and the record of layers of each target. Many
 * images cost less this way than one run each, and take no more memory than one run may.
 */
import { asAccelError } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import { MemoryBudget } from '../formats/ext4/state/memory-budget.ts';
import type { Target } from '../oci/storage.ts';
import { shareMemory } from './layer/memory-limit.ts';
import { Threads } from './layer/workers/threads.ts';
import type { ConvertContext } from './options.ts';
import { LayerCache } from './publish/layer-record.ts';
import type { RecordKey } from './publish/record-key.ts';
import { DEFAULT_MAX_MEMORY } from './settings.ts';

/** Settings of a {@link SharedRun}. */
export interface SharedRunOptions {
  /** Images to convert at a time, where the memory allows it. */
  readonly images: number;
  /** Uploads in flight. */
  readonly uploads: number;
  /** Compress threads; 0 compresses in the calling thread. */
  readonly workers: number;
  /** Bytes, as {@link ConvertRequest.maxMemory}; for all images together. */
  readonly maxMemory?: number | undefined;
  /** Ends what the run itself asks of registries. */
  readonly signal: AbortSignal;
  readonly warn: (message: string) => void;
}

/** Surroundings of one of the conversions that share a run; `threads` of the context, and `concurrency` and `maxMemory` of the request, do not count then. */
export interface SharedContext extends ConvertContext {
  readonly shared?: SharedRun;
}

/** Use of the record of layers by a conversion. */
export interface CacheUse {
  readonly cache: boolean;
  readonly force: boolean;
  readonly key: RecordKey | undefined;
}

/** See the module's comment. {@link SharedRun.close} saves the records and ends the threads. */
export class SharedRun {
  readonly threads: Threads;
  /** Bounds the images that are converted at a time, platforms of one index included. */
  readonly images: Limiter;
  readonly uploads: Limiter;
  readonly metadataMemory: MemoryBudget;
  readonly #options: SharedRunOptions;
  readonly #caches = new Map<Target, Map<boolean, LayerCache>>();
  readonly #saves = new Map<LayerCache, Saving>();

  /** Throws `usage` for too little memory. */
  constructor(options: SharedRunOptions) {
    const { images, uploads, workers, maxMemory = DEFAULT_MAX_MEMORY } = options;
    const share = shareMemory(maxMemory, { images, workers });
    this.threads = new Threads(share.workers);
    this.images = new Limiter(share.images);
    this.uploads = new Limiter(uploads);
    this.metadataMemory = new MemoryBudget(maxMemory / 2);
    this.#options = options;
  }

  /** The record of a target's layers: one for all conversions that read earlier ones, another for those that do not. */
  cacheOf(target: Target, { cache, force, key }: CacheUse): LayerCache {
    const reads = cache && !force;
    const known = this.#caches.get(target) ?? new Map<boolean, LayerCache>();
    this.#caches.set(target, known);
    const { signal, warn } = this.#options;
    const options = { key, onWarning: warn, remembers: true };
    const found = known.get(reads) ?? LayerCache[reads ? 'open' : 'disabled'](target, signal, options);
    known.set(reads, found);
    return found;
  }

  /** Whether a record is one of {@link cacheOf}. */
  owns(cache: LayerCache): boolean {
    for (const known of this.#caches.values()) if ([...known.values()].includes(cache)) return true;
    return false;
  }

  /**
   * Saves a record while other conversions run. At most one save of a record runs, and one waits: what is added
   * meanwhile is saved with it.
   */
  saveSoon(cache: LayerCache): void {
    const saving = this.#saves.get(cache) ?? { wanted: false, running: undefined };
    this.#saves.set(cache, saving);
    saving.wanted = true;
    saving.running ??= this.#save(cache, saving);
  }

  /** Saves the records and ends the threads. */
  async close(): Promise<void> {
    await Promise.all([...this.#saves.values()].map(({ running }) => running));
    await this.threads.close();
  }

  async #save(cache: LayerCache, saving: Saving): Promise<void> {
    try {
      while (saving.wanted && !this.#options.signal.aborted) {
        saving.wanted = false;
        await cache.save();
      }
    } catch (error) {
      const { signal, warn } = this.#options;
      if (signal.aborted) return;
      warn(
        `the record of converted layers was not saved; the next run converts them again: ${asAccelError(error).message}`,
      );
    } finally {
      saving.running = undefined;
    }
  }
}

/** The state of the saves of one record. */
interface Saving {
  wanted: boolean;
  running: Promise<void> | undefined;
}
