/** Where the bases of accelerated images are: the rules say from which repositories those of a repository are made. */
import { formatReference, parseRepository } from '../../../oci/reference.ts';
import type { RuleSet } from '../../../triggers/rules/match-rule.ts';

/** A repository with accelerated images. */
export interface PruneTarget {
  /** `host[:port]/repository`. */
  readonly repository: string;
  /** Repositories whose conversions go there, sorted. */
  readonly sources: readonly string[];
  /** A rule names it as its target: then its sources are known only where every catalogue could be read. */
  readonly isShared: boolean;
}

/** The repositories that conversions of these sources go to, sorted. */
export function pruneTargets(sources: readonly string[], rules: RuleSet): PruneTarget[] {
  const targets = new Map<string, { sources: Set<string>; isShared: boolean }>();
  for (const source of sources) {
    for (const { options } of rules.covering(source)) {
      const { targetRepository } = options;
      const name = targetRepository === undefined ? source : formatReference(parseRepository(targetRepository));
      const target = targets.get(name) ?? { sources: new Set(), isShared: false };
      targets.set(name, target);
      target.sources.add(source);
      if (targetRepository !== undefined) target.isShared = true;
    }
  }
  return [...targets]
    .map(([repository, { sources: from, isShared }]) => ({ repository, sources: [...from].sort(), isShared }))
    .sort((a, b) => (a.repository < b.repository ? -1 : 1));
}
