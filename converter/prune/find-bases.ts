/** Looks for bases in the repositories that they may be in. */
import { unlessMissing } from '../../oci/document.ts';
import { canListTags } from '../../oci/powers.ts';
import type { Target } from '../../oci/storage.ts';
import { type BaseFacts, basesOf } from './plan-prune.ts';
import { type RepositoryTags, readTag } from './read-tags.ts';

/** Says whether an image, `host[:port]/repository:tag`, is about to be converted or looked at. */
type IsPending = (image: string) => boolean;

/** Finds the state of a base, given the tags of the repository; called again before anything is removed. */
export type FindBase = (tag: string, own: RepositoryTags) => Promise<BaseFacts>;

/** Settings of {@link BaseFinder}. */
export interface BaseFinderOptions {
  /** The repository with the accelerated images. */
  readonly target: Target;
  /** Repositories that its bases may be in, `host[:port]/repository`; its own name for itself. */
  readonly sources: readonly string[];
  /** Nobody has said that the bases are in the repository itself: then something in it has to show that they are. */
  readonly isAssumed?: boolean;
  /** Opens one of the sources that is another repository. */
  readonly open: (repository: string) => Promise<Target>;
  /** Asked for each plan, and at most every {@link PENDING_FOR} milliseconds. */
  readonly pending?: () => Promise<IsPending>;
  readonly pace: () => Promise<void>;
  readonly signal: AbortSignal;
}

/** Answers of registries for one plan: the next plan asks again. */
interface PlanCache {
  readonly pending: Promise<IsPending>;
  readonly tags: Map<string, Promise<ReadonlySet<string>>>;
  hasBases?: Promise<boolean>;
}

/** Milliseconds for which the images that are about to be converted are remembered. */
const PENDING_FOR = 5000;

/** Source images that are looked for by digest as a proof that the repository has bases. */
const MAX_PROOFS = 20;

/** Finds the bases of one repository's accelerated images. Closed at the end. */
export class BaseFinder {
  readonly #options: BaseFinderOptions;
  readonly #open = new Map<string, Promise<Target>>();
  readonly #caches = new WeakMap<RepositoryTags, PlanCache>();
  #pending: { readonly answer: Promise<IsPending>; readonly at: number } | undefined;
  #isProven = false;

  constructor(options: BaseFinderOptions) {
    this.#options = options;
  }

  /** See {@link FindBase}. Throws what the registries throw. */
  readonly find: FindBase = async (tag, own) => {
    const states: BaseFacts[] = [];
    for (const source of this.#options.sources) states.push(await this.#look(source, tag, own));
    return anyBase(states);
  };

  /** Closes the repositories that were opened. */
  async close(): Promise<void> {
    for (const target of this.#open.values()) await (await target.catch(() => undefined))?.close?.();
  }

  async #look(source: string, tag: string, own: RepositoryTags): Promise<BaseFacts> {
    const { pace, signal, target, isAssumed = false } = this.#options;
    const cache = this.#cacheOf(own);
    if ((await cache.pending)(`${source}:${tag}`)) return { state: 'pending' };
    if (source === target.name) {
      const found = ownBase(tag, own);
      if (found.state !== 'gone' || !isAssumed) return found;
      cache.hasBases ??= this.#hasBases(own);
      this.#isProven ||= await cache.hasBases;
      return this.#isProven ? found : { state: 'unknown' };
    }
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

  /** Whether a base of one of the accelerated images is here: by its tag, or by the digest that the record has. */
  async #hasBases({ tags }: RepositoryTags): Promise<boolean> {
    if (this.#isProven) return true;
    const { target, pace, signal } = this.#options;
    const ours = tags.filter((facts) => basesOf(facts).length > 0);
    const foreign = new Set(tags.filter(({ record }) => record === undefined).map(({ tag }) => tag));
    if (ours.some((facts) => basesOf(facts).some((base) => foreign.has(base)))) return true;
    const sources = [...new Set(ours.map((facts) => facts.record!.sourceDigest))];
    for (const digest of sources.slice(0, MAX_PROOFS)) {
      await pace();
      if ((await unlessMissing(() => target.resolve(digest, { signal }))) !== undefined) return true;
    }
    return false;
  }

  #cacheOf(own: RepositoryTags): PlanCache {
    const known = this.#caches.get(own);
    if (known !== undefined) return known;
    const cache: PlanCache = { pending: this.#askPending(), tags: new Map() };
    this.#caches.set(own, cache);
    return cache;
  }

  #askPending(): Promise<IsPending> {
    const { pending } = this.#options;
    if (pending === undefined) return Promise.resolve(() => false);
    const now = performance.now();
    if (this.#pending === undefined || now - this.#pending.at > PENDING_FOR)
      this.#pending = { answer: pending(), at: now };
    return this.#pending.answer;
  }

  async #tagsOf(source: string): Promise<ReadonlySet<string>> {
    const { pace, signal } = this.#options;
    await pace();
    const target = await this.#target(source);
    return new Set(canListTags(target) ? await target.tags({ signal }) : []);
  }

  #target(source: string): Promise<Target> {
    const open = this.#open.get(source) ?? this.#options.open(source);
    this.#open.set(source, open);
    return open;
  }
}

/** The state of a base in the repository itself. */
function ownBase(tag: string, { byTag, broken }: RepositoryTags): BaseFacts {
  const facts = byTag.get(tag);
  if (facts !== undefined) return { state: 'present', digests: [facts.digest, ...(facts.children ?? [])] };
  return { state: broken.includes(tag) ? 'unknown' : 'gone' };
}

/** The state of a base that may be in several repositories. */
function anyBase(states: readonly BaseFacts[]): BaseFacts {
  const worst = states.find(({ state }) => state === 'unknown') ?? states.find(({ state }) => state === 'pending');
  if (worst !== undefined || states.length === 0) return worst ?? { state: 'unknown' };
  const present = states.filter((one) => one.state === 'present');
  return present.length === 0
    ? { state: 'gone' }
    : { state: 'present', digests: present.flatMap((one) => one.digests) };
}
