/**
 * Plans which accelerated tags of a repository may go: pure, from what the registry has. A tag goes only if its annotations say that
 * accel made it, its name is that of a base with a suffix, and the base is gone or names another image. Removing a manifest removes every
 * tag of its digest (distribution-spec v1.1, "Deleting Manifests"), so one that another tag or index needs is kept.
 */
import { LAYER_RECORD } from '../../formats/overlaybd/annotations.ts';
import { ACCELERATED_SUFFIX, CONTAINERD_SUFFIX } from '../../formats/overlaybd/tag-suffixes.ts';
import type { ConversionRecord } from '../publish/record-annotations.ts';

/** A tag and its content. */
export interface TagFacts {
  readonly tag: string;
  readonly digest: string;
  /** Digests of everything that an index leads to; undefined where it could not be read. */
  readonly children: readonly string[] | undefined;
  /** The record that accel wrote; absent for other images. */
  readonly record?: ConversionRecord;
  /** Time at which the image was built (created-time.ts), in milliseconds since the epoch. */
  readonly built?: number;
  /**
   * For a list of referrers (distribution-spec, "Referrers Tag Schema") those that the list says accel made. A list needs nothing of
   * what it names.
   */
  readonly listed?: readonly string[];
}

/** The state of a base in all repositories that it may be in. */
export type BaseFacts =
  /** `digests`: the image, and the children of an index. */
  | { readonly state: 'present'; readonly digests: readonly string[] }
  | { readonly state: 'gone' }
  /** A conversion of it waits or runs. */
  | { readonly state: 'pending' }
  /** It cannot be known whether it exists. */
  | { readonly state: 'unknown' };

/** A repository to plan for. */
export interface PruneInput {
  /** All tags. */
  readonly tags: readonly TagFacts[];
  /** The state of a base; asked for {@link basesOf} each tag. */
  readonly base: (tag: string) => BaseFacts;
  /** Keeps what is younger than this many milliseconds, and what has no known age. */
  readonly olderThan?: number | undefined;
  /** Keeps this many source images of those that could go, the youngest; where above 0, also all that have no known age. */
  readonly keepLast?: number | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Why a tag may go. */
export type RemovalReason = 'base-gone' | 'base-moved';

/** Why a tag is kept. */
export type KeepReason =
  /** No annotations of accel: somebody else's, or a base. */
  | 'not-ours'
  /** An accelerated image under a name that is not a base's with a suffix. */
  | 'other-name'
  | 'base-current'
  | 'base-pending'
  | 'base-unknown'
  /** It is the base of another accelerated tag. */
  | 'is-base'
  /** Its base's tag is gone, but what it was made from has another tag: somebody may have chosen the name. */
  | 'source-tagged'
  | 'referrer-list'
  /** The record of converted layers. */
  | 'layer-record'
  | 'too-young'
  | 'unknown-age'
  | 'keep-last'
  /** Another tag, which is kept, names the same digest. */
  | 'shared-digest'
  /** An index that is kept has it as a child. */
  | 'needed-by-index'
  /** An index of the repository cannot be read, so nobody knows what it needs. */
  | 'unreadable-index';

/** A manifest or index to remove, with all of its tags. */
export interface Removal {
  readonly digest: string;
  readonly tags: readonly { readonly tag: string; readonly reason: RemovalReason }[];
  /** Manifests without a tag that nothing but this index leads to; they go after it. */
  readonly children: readonly string[];
}

/** A tag that is kept; `by` is the tag that needs it. */
export interface KeptTag {
  readonly tag: string;
  readonly digest: string;
  readonly reason: KeepReason;
  readonly by?: string;
}

/** The plan: every tag is in one of the lists. */
export interface PrunePlan {
  readonly removals: readonly Removal[];
  readonly kept: readonly KeptTag[];
}

/**
 * Names of the bases that an accelerated tag may come from; none for a name that a conversion does not give. A tag with the containerd
 * suffix may also be the conversion of a tag that ends in `_containerd`, unless its mode says otherwise.
 */
export function basesOf({ tag, record }: Pick<TagFacts, 'tag' | 'record'>): readonly string[] {
  if (record === undefined) return [];
  const without = (suffix: string): string[] =>
    tag.endsWith(suffix) && tag.length > suffix.length ? [tag.slice(0, -suffix.length)] : [];
  const containerd = without(CONTAINERD_SUFFIX);
  return record.mode === 'containerd' ? containerd : [...containerd, ...without(ACCELERATED_SUFFIX)];
}

type Verdict = { readonly keep: KeepReason; readonly by?: string } | { readonly remove: RemovalReason };

/** Plans a repository. */
export function planPrune(input: PruneInput): PrunePlan {
  const { tags } = input;
  const verdicts = new Map<string, Verdict>();
  const bases = new Map(tags.flatMap((facts) => basesOf(facts).map((base) => [base, facts.tag] as const)));
  const named = namedDigests(tags);
  for (const facts of tags) verdicts.set(facts.tag, verdictOf(facts, input, { bases, named }));
  keepYoung(verdicts, input);
  keepNeeded(verdicts, tags);
  const byDigest = groupByDigest(tags);
  const removals: Removal[] = [];
  const taken = childrenOfKept(tags, verdicts);
  for (const [digest, group] of byDigest) {
    const removed = group.flatMap(({ tag }) => {
      const verdict = verdicts.get(tag)!;
      return 'remove' in verdict ? [{ tag, reason: verdict.remove }] : [];
    });
    if (removed.length === 0) continue;
    const children = (group[0]!.children ?? []).filter((child) => !taken.has(child) && !byDigest.has(child));
    for (const child of children) taken.add(child);
    removals.push({ digest, tags: removed, children });
  }
  const kept = tags.flatMap(({ tag, digest }): KeptTag[] => {
    const verdict = verdicts.get(tag)!;
    if ('remove' in verdict) return [];
    const { keep: reason, by } = verdict;
    return [{ tag, digest, reason, ...(by === undefined ? {} : { by }) }];
  });
  return { removals, kept };
}

/** Bases by name, with a tag that was made from each; tags by the digests that they lead to. */
interface Names {
  readonly bases: ReadonlyMap<string, string>;
  readonly named: ReadonlyMap<string, readonly string[]>;
}

function verdictOf(facts: TagFacts, { base }: PruneInput, { bases, named }: Names): Verdict {
  const { tag, record } = facts;
  if (facts.listed !== undefined) return { keep: 'referrer-list' };
  if (record === undefined) return { keep: tag === LAYER_RECORD.tag ? 'layer-record' : 'not-ours' };
  const names = basesOf(facts);
  if (names.length === 0) return { keep: 'other-name' };
  const dependent = bases.get(tag);
  if (dependent !== undefined) return { keep: 'is-base', by: dependent };
  const found = names.map(base);
  if (found.some(({ state }) => state === 'unknown')) return { keep: 'base-unknown' };
  if (found.some(({ state }) => state === 'pending')) return { keep: 'base-pending' };
  const present = found.filter((one) => one.state === 'present');
  if (present.some(({ digests }) => digests.includes(record.sourceDigest))) return { keep: 'base-current' };
  if (present.length > 0) return { remove: 'base-moved' };
  const by = named.get(record.sourceDigest)?.find((other) => other !== tag);
  return by === undefined ? { remove: 'base-gone' } : { keep: 'source-tagged', by };
}

function namedDigests(tags: readonly TagFacts[]): Map<string, string[]> {
  const named = new Map<string, string[]>();
  for (const { tag, digest, children = [], listed } of tags) {
    if (listed !== undefined) continue;
    for (const one of [digest, ...children]) {
      const others = named.get(one);
      if (others === undefined) named.set(one, [tag]);
      else others.push(tag);
    }
  }
  return named;
}

/** Digests that indexes which stay lead to. */
function childrenOfKept(tags: readonly TagFacts[], verdicts: ReadonlyMap<string, Verdict>): Set<string> {
  const kept = tags.filter(({ tag, listed }) => 'keep' in verdicts.get(tag)! && listed === undefined);
  return new Set(kept.flatMap(({ children = [] }) => children));
}

/** Keeps what is too young. The two tags of one conversion have one source and are kept together. */
function keepYoung(verdicts: Map<string, Verdict>, { tags, olderThan, keepLast, now }: PruneInput): void {
  const isLeaving = ({ tag }: TagFacts): boolean => 'remove' in verdicts.get(tag)!;
  if (olderThan !== undefined) {
    for (const { tag, built } of tags.filter(isLeaving)) {
      if (built === undefined) verdicts.set(tag, { keep: 'unknown-age' });
      else if (built > now - olderThan) verdicts.set(tag, { keep: 'too-young' });
    }
  }
  if (keepLast === undefined || keepLast === 0) return;
  const ages = new Map<string, number>();
  for (const { tag, record, built } of tags.filter(isLeaving)) {
    if (built === undefined) {
      verdicts.set(tag, { keep: 'unknown-age' });
      continue;
    }
    const source = record!.sourceDigest;
    ages.set(source, Math.max(built, ages.get(source) ?? Number.NEGATIVE_INFINITY));
  }
  const youngest = [...ages].sort(([one, a], [other, b]) => (a === b ? (one < other ? -1 : 1) : a < b ? 1 : -1));
  const kept = new Set(youngest.slice(0, keepLast).map(([source]) => source));
  for (const { tag, record } of tags.filter(isLeaving))
    if (kept.has(record!.sourceDigest)) verdicts.set(tag, { keep: 'keep-last' });
}

/** Keeps what something that stays needs, until nothing changes: what is kept may need more. */
function keepNeeded(verdicts: Map<string, Verdict>, tags: readonly TagFacts[]): void {
  const unreadable = tags.find(({ children, listed }) => children === undefined && listed === undefined);
  const needed = new Map<string, Verdict>();
  const open = tags.filter(({ tag }) => 'keep' in verdicts.get(tag)!);
  const tagsOf = groupByDigest(tags);
  for (let facts = open.pop(); facts !== undefined; facts = open.pop()) {
    const { tag: by, digest, listed } = facts;
    const children = listed === undefined ? (facts.children ?? []) : [];
    const needs = [[digest, 'shared-digest'] as const, ...children.map((one) => [one, 'needed-by-index'] as const)];
    for (const [one, keep] of needs) {
      if (needed.has(one)) continue;
      needed.set(one, { keep, by });
      for (const other of tagsOf.get(one) ?? []) {
        if ('keep' in verdicts.get(other.tag)!) continue;
        verdicts.set(other.tag, { keep, by });
        open.push(other);
      }
    }
  }
  if (unreadable === undefined) return;
  for (const [tag, verdict] of verdicts)
    if ('remove' in verdict) verdicts.set(tag, { keep: 'unreadable-index', by: unreadable.tag });
}

/** Tags by the digest that they name. */
export function groupByDigest(tags: readonly TagFacts[]): Map<string, TagFacts[]> {
  const groups = new Map<string, TagFacts[]>();
  for (const facts of tags) {
    const group = groups.get(facts.digest);
    if (group === undefined) groups.set(facts.digest, [facts]);
    else group.push(facts);
  }
  return groups;
}
