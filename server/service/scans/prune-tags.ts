/** Prunes all repositories that conversions go to (converter/prune). */
import { asAccelError } from '../../../base/error.ts';
import { BaseFinder } from '../../../converter/prune/find-bases.ts';
import { type PruneReport, pruneRepository } from '../../../converter/prune/prune-repository.ts';
import { openTarget } from '../../../oci/open.ts';
import { parseRepository } from '../../../oci/reference.ts';
import type { Target } from '../../../oci/storage.ts';
import { registryOptions } from '../../config/registry-access.ts';
import { milliseconds } from '../../config/schema.ts';
import type { ServiceSettings } from '../service-settings.ts';
import { createPace } from './pace.ts';
import type { PendingImages } from './pending-images.ts';
import { type PruneTarget, pruneTargets } from './prune-sources.ts';
import { isRegistryFailure, repositoriesToScan } from './repositories-to-scan.ts';

/** A run over all repositories. */
export interface PruneRun {
  readonly settings: Pick<ServiceSettings, 'config' | 'rules' | 'registries'>;
  /** Only says what would be removed. */
  readonly dryRun: boolean;
  readonly pending: () => Promise<PendingImages>;
  /** Hears of each repository when it is done. */
  readonly onReport: (report: PruneReport) => void;
  readonly signal: AbortSignal;
}

/** Result of a run. */
export interface PruneRunReport {
  /** Tags that were looked at. */
  readonly tags: number;
  /** Manifests that were removed; none in a dry run. */
  readonly removed: number;
  /** One line each. */
  readonly problems: readonly string[];
}

/** Images that are read at a time; the rate of `service.reconcile` holds for all of them. */
const CONCURRENCY = 4;

/** Prunes the repositories one after another. One that fails is reported, and the others are pruned all the same. */
export async function pruneTags(run: PruneRun): Promise<PruneRunReport> {
  const { settings, signal, onReport } = run;
  const { rules } = settings;
  const { repositories, problems: unread } = await repositoriesToScan(rules.repositories, settings, signal);
  const report = { tags: 0, removed: 0, problems: [...unread] };
  for (const place of pruneTargets(repositories, rules)) {
    if (place.isShared && unread.length > 0) {
      report.problems.push(`${place.repository} is left alone: not all repositories that it is made from are known`);
      continue;
    }
    try {
      const one = await pruneOne(place, run);
      onReport(one);
      report.tags += one.plan.kept.length + one.plan.removals.reduce((sum, { tags }) => sum + tags.length, 0);
      report.removed += one.removed.length;
      report.problems.push(...one.problems);
    } catch (error) {
      signal.throwIfAborted();
      const known = asAccelError(error);
      if (!isRegistryFailure(known.code)) throw error;
      report.problems.push(`${place.repository}: ${describe(known)}`);
    }
  }
  return report;
}

async function pruneOne(place: PruneTarget, { settings, dryRun, pending, signal }: PruneRun): Promise<PruneReport> {
  const { config, registries } = settings;
  const { olderThan, keepLast } = config.service.prune;
  const pace = createPace(config.service.reconcile.rate, signal);
  const open = async (name: string): Promise<Target> =>
    openTarget(parseRepository(name), await registryOptions(registries, name));
  const target = await open(place.repository);
  const bases = new BaseFinder({ target, sources: place.sources, open, pending, pace, signal });
  try {
    return await pruneRepository({
      target,
      findBase: bases.find,
      dryRun,
      olderThan: olderThan === undefined ? undefined : milliseconds(olderThan),
      keepLast,
      pace,
      concurrency: CONCURRENCY,
      signal,
    });
  } finally {
    await bases.close();
    await target.close?.();
  }
}

function describe({ message, expected, found }: ReturnType<typeof asAccelError>): string {
  return [
    message,
    ...(expected === undefined ? [] : [`expected ${expected}`]),
    ...(found === undefined ? [] : [`found ${found}`]),
  ].join('; ');
}
