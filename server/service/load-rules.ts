/** The rules of a configuration, compiled. */
import { canonicalPattern, compileRules, patternHost, type RuleSet } from '../../triggers/rules/match-rule.ts';
import { compilePattern, type Pattern } from '../../triggers/rules/pattern.ts';
import { namingKey, ruleSources } from '../../triggers/rules/rule-entries.ts';
import { type Config, milliseconds } from '../config/schema.ts';

/** Compiles the rules. Throws `usage` for one that cannot be used, `io-error` for a file of paths that cannot be read. */
export async function loadRules(config: Config): Promise<RuleSet> {
  return compileRules(await ruleSources(config.rules));
}

/** An entry of `service.watch`, compiled. */
export interface WatchSource {
  readonly patterns: readonly Pattern[];
  /** Milliseconds. */
  readonly interval: number;
}

/** Compiles `service.watch`. Throws `usage` for a pattern that cannot be used. */
export function loadWatches({ service }: Config): WatchSource[] {
  return service.watch.map(({ repositories, interval }, index) => ({
    patterns: repositories.map((text) =>
      namingKey({ watch: index + 1 }, 'repositories', () => {
        const pattern = canonicalPattern(text);
        patternHost(pattern);
        return compilePattern(pattern);
      }),
    ),
    interval: milliseconds(interval),
  }));
}
