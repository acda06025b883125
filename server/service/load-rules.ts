/** The rules of a configuration, compiled. */
import { readFile } from 'node:fs/promises';
import { AccelError } from '../../base/error.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { parseRepository } from '../../oci/reference.ts';
import { parsePrefetchLines } from '../../prefetch/lines.ts';
import {
  canonicalPattern,
  compileRules,
  patternHost,
  type RuleSet,
  type RuleSource,
} from '../../triggers/rules/match-rule.ts';
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
  return service.watch.map(({ repositories, interval }, index) => ({
    patterns: repositories.map((text) =>
      naming({ watch: index + 1 }, 'repositories', () => {
        const pattern = canonicalPattern(text);
        patternHost(pattern);
        return compilePattern(pattern);
      }),
    ),
    interval: milliseconds(interval),
  }));
}

type Rule = Config['rules'][number];

async function sourceOf(rule: Rule, index: number): Promise<RuleSource> {
  const { repositories, excludeRepositories, tags, prefetchFile, prefetch, blockSize, targetRepository } = rule;
  const where = { rule: index + 1 };
  if (prefetch !== undefined && prefetchFile !== undefined) {
    throw new AccelError('usage', 'a rule has one prefetch list', { where, expected: 'prefetch or prefetchFile' });
  }
  checkOptions(rule, where);
  const lines = prefetchFile === undefined ? prefetch : await readLines(prefetchFile, where);
  const size = blockSize === undefined ? undefined : bytesOf(String(blockSize).replace(/K$/, 'Ki'));
  if (size !== undefined && !Number.isInteger(Math.log2(size))) {
    throw new AccelError('usage', 'the size of a block is a power of two', { where, found: size });
  }
  if (lines !== undefined) naming(where, 'prefetch', () => parsePrefetchLines(lines));
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

/** Refuses, once, options that the converter would refuse for each image. */
function checkOptions(
  { platforms = [], repositories, targetRepository }: Rule,
  where: { readonly rule: number },
): void {
  for (const platform of platforms) naming(where, 'platforms', () => parsePlatform(platform));
  if (targetRepository !== undefined) {
    const { kind } = naming(where, 'targetRepository', () => parseRepository(targetRepository));
    if (kind !== 'registry' || !/^([^/]*[.:][^/]*|localhost)\//.test(targetRepository)) {
      throw new AccelError('usage', 'converted images go to a registry', {
        where: { ...where, key: 'targetRepository' },
        expected: 'HOST/REPOSITORY, such as registry.example.com/accelerated/app',
        found: targetRepository,
      });
    }
  }
  const tagged = repositories.find((pattern) => /:[^/]*$/.test(pattern) && pattern.includes('/'));
  if (tagged === undefined) return;
  throw new AccelError('usage', 'a pattern of repositories has a tag', {
    where: { ...where, key: 'repositories' },
    expected: 'HOST/REPOSITORY without a tag',
    found: tagged,
    hint: 'Patterns of tags are in tags.include and tags.exclude.',
  });
}

/** Does something with a value of a rule or of a watch; its error names that and the key. */
function naming<T>(where: Readonly<Record<string, number>>, key: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof AccelError)) throw error;
    throw new AccelError('usage', error.message, { ...error.details, where: { ...where, key, ...error.where } });
  }
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
