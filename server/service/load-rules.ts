/** The rules of a configuration, compiled. */
import { readFile } from 'node:fs/promises';
import { AccelError } from '../../base/error.ts';
import { canonicalPattern, compileRules, type RuleSet, type RuleSource } from '../../triggers/rules/match-rule.ts';
import { compilePattern, type Pattern } from '../../triggers/rules/pattern.ts';
import { bytesOf, type Config, milliseconds } from '../config/schema.ts';

/** Bytes of the longest file of prefetch paths. */
const MAX_PREFETCH = 256 * 1024;

/** Compiles the rules. Throws `usage` for one that cannot be used, `io-error` for a file of paths that cannot be read. */
export async function loadRules(config: Config): Promise<RuleSet> {
  return compileRules(await Promise.all(config.rules.map(sourceOf)));
}

/** An entry of `service.watch`, compiled. */
export interface WatchSource {
  readonly patterns: readonly Pattern[];
  /** Milliseconds. */
  readonly interval: number;
}

/** Compiles `service.watch`. Throws `usage` for a pattern that cannot be used. */
export function loadWatches({ service }: Config): WatchSource[] {
  return service.watch.map(({ repositories, interval }) => ({
    patterns: repositories.map((text) => compilePattern(canonicalPattern(text))),
    interval: milliseconds(interval),
  }));
}

async function sourceOf(rule: Config['rules'][number], index: number): Promise<RuleSource> {
  const { repositories, excludeRepositories, tags, prefetchFile, prefetch, blockSize, targetRepository } = rule;
  const where = { rule: index + 1 };
  if (prefetch !== undefined && prefetchFile !== undefined) {
    throw new AccelError('usage', 'a rule has one prefetch list', { where, expected: 'prefetch or prefetchFile' });
  }
  const lines = prefetchFile === undefined ? prefetch : await readLines(prefetchFile, where);
  const size = blockSize === undefined ? undefined : bytesOf(String(blockSize).replace(/K$/, 'Ki'));
  if (size !== undefined && !Number.isInteger(Math.log2(size))) {
    throw new AccelError('usage', 'the size of a block is a power of two', { where, found: size });
  }
  return {
    repositories,
    ...(excludeRepositories === undefined ? {} : { excludeRepositories }),
    ...(tags.include === undefined ? {} : { includeTags: tags.include }),
    ...(tags.exclude === undefined ? {} : { excludeTags: tags.exclude }),
    mode: rule.mode,
    platforms: rule.platforms ?? [],
    ...(lines === undefined ? {} : { prefetch: lines }),
    ...(targetRepository === undefined ? {} : { targetRepository }),
    verify: rule.verify,
    ...(rule.algorithm === undefined ? {} : { algorithm: rule.algorithm }),
    ...(size === undefined ? {} : { blockSize: size }),
  };
}

async function readLines(path: string, where: { readonly rule: number }): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw new AccelError('io-error', 'the file of prefetch paths cannot be read', {
      where: { ...where, path },
      found: cause.message,
      cause,
    });
  });
  if (text.length > MAX_PREFETCH) {
    throw new AccelError('usage', 'the file of prefetch paths is too large', {
      where: { ...where, path },
      expected: `at most ${MAX_PREFETCH} characters`,
      found: text.length,
    });
  }
  return text.split('\n').filter((line) => line.trim() !== '');
}
