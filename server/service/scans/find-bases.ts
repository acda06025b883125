/** Looks for bases in the repositories that they may be in. */
import type { BaseFacts } from '../../../converter/prune/plan-prune.ts';
import { anyBase, type FindBase, ownBase } from '../../../converter/prune/prune-repository.ts';
import { type RepositoryTags, readTag } from '../../../converter/prune/read-tags.ts';
import { openTarget } from '../../../oci/open.ts';
import { canListTags } from '../../../oci/powers.ts';
import { parseRepository } from '../../../oci/reference.ts';
import type { Target } from '../../../oci/storage.ts';
import { type RegistryAccess, registryOptions } from '../../config/registry-access.ts';
import type { PendingImages } from './pending-images.ts';
import type { PruneTarget } from './prune-sources.ts';

/** Settings of {@link BaseFinder}. */
export interface BaseFinderOptions {
  readonly registries: readonly RegistryAccess[];
  /** Asked once for each plan. */
  readonly pending: () => Promise<PendingImages>;
  readonly pace: () => Promise<void>;
  readonly signal: AbortSignal;
}

/** Answers of registries for one plan: the next plan asks again. */
interface PlanCache {
  readonly pending: Promise<PendingImages>;
  readonly tags: Map<string, Promise<ReadonlySet<string>>>;
}

/** Finds the bases of one repository's accelerated images. Closed at the end. */
export class BaseFinder {
  readonly #place: PruneTarget;
  readonly #options: BaseFinderOptions;
  readonly #open = new Map<string, Promise<Target>>();
  readonly #caches = new WeakMap<RepositoryTags, PlanCache>();

  constructor(place: PruneTarget, options: BaseFinderOptions) {
    this.#place = place;
    this.#options = options;
  }

  /** See {@link FindBase}. Throws what the registries throw. */
  readonly find: FindBase = async (tag, own) => {
    const states: BaseFacts[] = [];
    for (const source of this.#place.sources) states.push(await this.#look(source, tag, own));
    return anyBase(states);
  };

  /** Closes the repositories that were opened. */
  async close(): Promise<void> {
    for (const target of this.#open.values()) await (await target.catch(() => undefined))?.close?.();
  }

  async #look(source: string, tag: string, own: RepositoryTags): Promise<BaseFacts> {
    const { pace, signal } = this.#options;
    const cache = this.#cacheOf(own);
    if ((await cache.pending)(`${source}:${tag}`)) return { state: 'pending' };
    if (source === this.#place.repository) return ownBase(tag, own);
    const names = cache.tags.get(source) ?? this.#tagsOf(source);
    cache.tags.set(source, names);
    const listed = await names;
    // Registries answer 404 for repositories that this user may not see, too: one without any tag says nothing about a base.
    if (listed.size === 0) return { state: 'unknown' };
    if (!listed.has(tag)) return { state: 'gone' };
    await pace();
    const facts = await readTag(await this.#target(source), tag, { signal, ages: false });
    if (facts === undefined) return { state: 'unknown' };
    return { state: 'present', digests: [facts.digest, ...(facts.children ?? [])] };
  }

  #cacheOf(own: RepositoryTags): PlanCache {
    const cache = this.#caches.get(own) ?? { pending: this.#options.pending(), tags: new Map() };
    this.#caches.set(own, cache);
    return cache;
  }

  async #tagsOf(source: string): Promise<ReadonlySet<string>> {
    const { pace, signal } = this.#options;
    await pace();
    const target = await this.#target(source);
    return new Set(canListTags(target) ? await target.tags({ signal }) : []);
  }

  #target(source: string): Promise<Target> {
    const open =
      this.#open.get(source) ??
      registryOptions(this.#options.registries, source).then((options) => openTarget(parseRepository(source), options));
    this.#open.set(source, open);
    return open;
  }
}
