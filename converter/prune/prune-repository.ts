/**
 * Prunes a repository: reads it, plans (plan-prune.ts), and removes what the plan says unless it is a dry run (remove-planned.ts). The
 * service and the command line share it.
 */
import { AccelError, asAccelError } from '../../base/error.ts';
import { mapBounded } from '../../base/limiter.ts';
import { digestOf } from '../../oci/digest.ts';
import { canListTags, canRemoveManifests } from '../../oci/powers.ts';
import type { ManifestRemover, Target } from '../../oci/storage.ts';
import { type DroppedEntries, LayerCache } from '../publish/layer-record.ts';
import type { FindBase } from './find-bases.ts';
import { type BaseFacts, basesOf, type PrunePlan, planPrune, type Removal } from './plan-prune.ts';
import { type RepositoryTags, readTags, readTagsAgain } from './read-tags.ts';
import { pruneReferrers, type ReferrerLeftovers } from './referrer-lists.ts';
import { type Look, removePlanned } from './remove-planned.ts';

/** A repository to prune. */
export interface PruneOptions {
  readonly target: Target;
  readonly findBase: FindBase;
  readonly dryRun: boolean;
  readonly olderThan?: number | undefined;
  readonly keepLast?: number | undefined;
  /** Waits before each image, so that the registry stays usable. */
  readonly pace: () => Promise<void>;
  /** Images that are read at a time; 1 unless given. */
  readonly concurrency?: number | undefined;
  /** Hears of each removal when it is done; the next one waits for it. */
  readonly onRemoved?: (removal: Removal) => void | Promise<void>;
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
  readonly referrers: Omit<ReferrerLeftovers, 'problems'>;
  /** Of a dry run that would remove something: why the registry would not let it. */
  readonly refusal?: string;
  readonly problems: readonly string[];
}

/**
 * Prunes a repository. Throws `usage` where the target cannot list tags, `registry-error` or `unauthorized` before anything is removed
 * where it does not let manifests be removed, and what reading it throws.
 */
export async function pruneRepository(options: PruneOptions): Promise<PruneReport> {
  const { target, dryRun, olderThan, keepLast, signal, findBase, pace, concurrency } = options;
  if (!canListTags(target) || !canRemoveManifests(target)) {
    throw new AccelError('usage', 'only repositories of a registry are pruned', { where: { target: target.name } });
  }
  const ages = olderThan !== undefined || (keepLast ?? 0) > 0;
  const reading = { signal, pace, ages, concurrency };
  const lookAt = async (tags: RepositoryTags): Promise<Look> => {
    const names = [...new Set(tags.tags.flatMap(basesOf))];
    const states = await mapBounded(names, concurrency ?? 1, (name) => findBase(name, tags));
    return { tags, bases: new Map(names.map((name, index) => [name, states[index]!])) };
  };
  const planOf = ({ tags, bases }: Look): PrunePlan =>
    planPrune({
      tags: tags.tags,
      // A tag that appeared after the look: nobody has asked for its base yet.
      base: (tag): BaseFacts => bases.get(tag) ?? { state: 'unknown' },
      olderThan,
      keepLast,
      now: Date.now(),
    });
  const own = await readTags(target, reading);
  const plan = planOf(await lookAt(own));
  const isDue = plan.removals.length > 0;
  const problems = own.broken.map((tag) => `${target.name}:${tag} is listed and does not exist`);
  let [tags, removed, refusal]: [RepositoryTags, readonly Removal[], string | undefined] = [own, [], undefined];
  if (isDue && dryRun) refusal = await refusalOf(target, signal);
  else if (isDue) {
    await assertRemovable(target, signal);
    const done = await removePlanned(plan, own, {
      ...{ target, findBase, ages, pace, signal, plan: planOf },
      look: async (before) => lookAt(await readTagsAgain(target, before, reading)),
      onRemoved: options.onRemoved ?? (() => undefined),
    });
    ({ tags, removed } = done);
    problems.push(...done.problems);
  }
  // The removals are reported, whatever else fails.
  const orProblem = async <T>(otherwise: T, body: () => Promise<T>): Promise<T> => {
    try {
      return await body();
    } catch (error) {
      signal.throwIfAborted();
      const known = asAccelError(error);
      if (removed.length === 0 || known.code === 'internal') throw error;
      problems.push(`${target.name}: ${known.message}`);
      return otherwise;
    }
  };
  const leaving = new Set((dryRun ? plan.removals : removed).flatMap(({ digest, children }) => [digest, ...children]));
  const referrers = await orProblem({ untagged: [], entries: 0, problems: [] }, () =>
    pruneReferrers(target, tags, { dryRun, leaving, pace, signal }),
  );
  problems.push(...referrers.problems);
  const record = await orProblem({ entries: 0, missing: 0 }, () =>
    LayerCache.open(target, signal).dropMissing({ dryRun, pace }),
  );
  return {
    ...{ repository: target.name, plan, removed, record },
    referrers: { untagged: referrers.untagged, entries: referrers.entries },
    ...(refusal === undefined ? {} : { refusal }),
    problems,
  };
}

/** Throws where the registry does not let manifests be removed: asks it to remove one that does not exist. */
export async function assertRemovable(target: ManifestRemover, signal: AbortSignal): Promise<void> {
  await target.removeManifest(digestOf(crypto.getRandomValues(new Uint8Array(32))), { signal });
}

/** The registry's refusal to remove anything, in words; undefined where it would. */
async function refusalOf(target: ManifestRemover, signal: AbortSignal): Promise<string | undefined> {
  try {
    await assertRemovable(target, signal);
    return undefined;
  } catch (error) {
    const { code, message, found } = asAccelError(error);
    if (code !== 'registry-error' && code !== 'unauthorized') throw error;
    return [message, ...(found === undefined ? [] : [String(found)])].join('; ');
  }
}
