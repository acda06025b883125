/** `accel serve prune`: prunes now what the schedule would. */
import type { PruneReport } from '../../../converter/prune/prune-repository.ts';
import type { Config } from '../../config/schema.ts';
import { loadRules } from '../load-rules.ts';
import { type PruneRunReport, pruneTags } from './prune-tags.ts';
import { openAccess } from './service-access.ts';

/** A run by hand. */
export interface PruneRequest {
  readonly dryRun: boolean;
  readonly onReport: (report: PruneReport) => void;
  readonly signal: AbortSignal;
}

/** Prunes all repositories that rules cover. Throws `usage` for a configuration that cannot be used, `io-error` where the queue cannot be had. */
export async function pruneByHand(config: Config, { dryRun, onReport, signal }: PruneRequest): Promise<PruneRunReport> {
  const settings = { config, rules: await loadRules(config), registries: config.registries };
  const access = await openAccess(config, signal);
  try {
    return await pruneTags({ settings, dryRun, pending: () => access.pending(), onReport, signal });
  } finally {
    await access.close();
  }
}
