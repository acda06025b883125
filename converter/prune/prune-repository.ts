/**
 * Prunes a repository: reads it, plans (plan-prune.ts), and removes what the plan says unless it is a dry run. Right before each removal
 * the registry is asked again: a plan is older than what it speaks of.
 */
import { AccelError } from '../../base/error.ts';
import { digestOf } from '../../oci/digest.ts';
import { unlessMissing } from '../../oci/document.ts';
import { canListTags, canRemoveManifests } from '../../oci/powers.ts';
import type { ManifestRemover, TagLister, Target } from '../../oci/storage.ts';
import { type DroppedEntries, LayerCache } from '../publish/layer-record.ts';
import { type BaseFacts, basesOf, type PrunePlan, planPrune, type Removal, type TagFacts } from './plan-prune.ts';
import { type RepositoryTags, readTag, readTags } from './read-tags.ts';

/** Finds the state of a base, given the tags of the repository; called again before anything is removed. */
export type FindBase = (tag: string, own: RepositoryTags) => Promise<BaseFacts>;

/** A repository to prune. */
export interface PruneOptions {
  readonly target: Target;
  readonly findBase: FindBase;
  readonly dryRun: boolean;
  readonly olderThan?: number | undefined;
  readonly keepLast?: number | undefined;
  /** Waits before each image, so that the registry stays usable. */
  readonly pace: () => Promise<void>;
  readonly signal: AbortSignal;
}

/** The result for a repository. */
export interface PruneReport {
  readonly repository: string;
  readonly plan: PrunePlan;
  /** Removals that were done; those of the plan that are missing here are in {@link problems}, or it was a dry run. */
  readonly removed: readonly Removal[];
  /** Entries of the record of converted layers. */
  readonly record: DroppedEntries;
  readonly problems: readonly string[];
}

/**
 * Prunes a repository. Throws `usage` where the target cannot list tags, `registry-error` or `unauthorized` before anything is removed
 * where it does not let manifests be removed, and what reading it throws.
 */
export async function pruneRepository(options: PruneOptions): Promise<PruneReport> {
  const { target, dryRun, olderThan, keepLast, signal, findBase, pace } = options;
  if (!canListTags(target) || !canRemoveManifests(target)) {
    throw new AccelError('usage', 'only repositories of a registry are pruned', { where: { target: target.name } });
  }
  const ages = olderThan !== undefined || keepLast !== undefined;
  const own = await readTags(target, { signal, pace, ages });
  const makePlan = async (tags: RepositoryTags): Promise<PrunePlan> => {
    const bases = new Map<string, BaseFacts>();
    for (const base of new Set(tags.tags.flatMap(basesOf))) bases.set(base, await findBase(base, tags));
    return planPrune({ tags: tags.tags, base: (tag) => bases.get(tag)!, olderThan, keepLast, now: Date.now() });
  };
  const plan = await makePlan(own);
  const problems = own.broken.map((tag) => `${target.name}:${tag} is listed and does not exist`);
  const removed: Removal[] = [];
  if (!dryRun && plan.removals.length > 0) {
    await assertRemovable(target, signal);
    // Tags that moved since the first look are read again, and only what both plans say is removed.
    const { removals } = await makePlan(await readAgain(target, own, options));
    for (const removal of plan.removals) {
      await pace();
      if (!removals.some(({ digest }) => digest === removal.digest) || !(await isSame(target, removal, signal))) {
        problems.push(`${target.name}@${removal.digest} is kept: its tags or their bases have changed meanwhile`);
      } else {
        await target.removeManifest(removal.digest, { signal });
        removed.push(removal);
      }
    }
  }
  const record = await LayerCache.open(target, signal).dropMissing({ dryRun, pace });
  return { repository: target.name, plan, removed, record, problems };
}

/** Throws where the registry does not let manifests be removed: asks it to remove one that does not exist. */
export async function assertRemovable(target: ManifestRemover, signal: AbortSignal): Promise<void> {
  await target.removeManifest(digestOf(crypto.getRandomValues(new Uint8Array(32))), { signal });
}

/** The tags as they are now; only those that are new or have moved are read, for the others a request without a body is enough. */
async function readAgain(
  target: Target & TagLister,
  { tags: before }: RepositoryTags,
  { signal, pace, olderThan, keepLast }: PruneOptions,
): Promise<RepositoryTags> {
  const ages = olderThan !== undefined || keepLast !== undefined;
  const byTag = new Map(before.map((facts) => [facts.tag, facts]));
  const tags: TagFacts[] = [];
  const broken: string[] = [];
  for (const tag of await target.tags({ signal })) {
    await pace();
    const known = byTag.get(tag);
    const digest = known === undefined ? undefined : await digestOfTag(target, tag, signal);
    const facts = known !== undefined && digest === known.digest ? known : await readTag(target, tag, { signal, ages });
    if (facts === undefined) broken.push(tag);
    else tags.push(facts);
  }
  return { tags, broken };
}

/** Whether all tags of a removal still name its digest. */
async function isSame(target: Target, { digest, tags }: Removal, signal: AbortSignal): Promise<boolean> {
  for (const { tag } of tags) if ((await digestOfTag(target, tag, signal)) !== digest) return false;
  return true;
}

async function digestOfTag(target: Target, tag: string, signal: AbortSignal): Promise<string | undefined> {
  return (await unlessMissing(() => target.resolve(tag, { signal })))?.digest;
}

/** The state of a base in the repository itself. */
export function ownBase(tag: string, { tags, broken }: RepositoryTags): BaseFacts {
  const facts = tags.find((one) => one.tag === tag);
  if (facts !== undefined) return { state: 'present', digests: [facts.digest, ...(facts.children ?? [])] };
  return { state: broken.includes(tag) ? 'unknown' : 'gone' };
}

/** The state of a base that may be in several repositories. */
export function anyBase(states: readonly BaseFacts[]): BaseFacts {
  const worst = states.find(({ state }) => state === 'unknown') ?? states.find(({ state }) => state === 'pending');
  if (worst !== undefined || states.length === 0) return worst ?? { state: 'unknown' };
  const present = states.filter((one) => one.state === 'present');
  return present.length === 0
    ? { state: 'gone' }
    : { state: 'present', digests: present.flatMap((one) => one.digests) };
}
