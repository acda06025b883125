/** The pruning of a repository, in lines for the log. */
import type { PruneReport } from '../../../converter/prune/prune-repository.ts';

/** One line for each removal, and one for the record; none where there is nothing to say. */
export function describePruning({ repository, plan, removed, record }: PruneReport, dryRun: boolean): string[] {
  const shown = dryRun ? plan.removals : removed;
  const lines = shown.map(({ digest, tags }) => {
    const names = tags.map(({ tag, reason }) => `${tag} (${reason})`).join(', ');
    return `${dryRun ? 'would remove' : 'removed'} ${repository}@${digest}: ${names}`;
  });
  if (record.missing > 0) {
    const action = dryRun ? 'would drop' : 'dropped';
    lines.push(`${action} ${record.missing} of ${record.entries} entries of the record of layers of ${repository}`);
  }
  return lines;
}
