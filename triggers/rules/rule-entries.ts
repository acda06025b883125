/**
 * The section `rules` of a configuration, from its entries to rules that can be compiled. The conversion service reads it
 * by its schema, `accel convert` by read-rules.ts; what an entry means is the same.
 */
import { readFile } from 'node:fs/promises';
import { AccelError } from '../../base/error.ts';
import type { Algorithm, Mode } from '../../converter/options.ts';
import { isLz4Level, LZ4_LEVELS } from '../../formats/kernels/lz4-levels.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { parseRepository } from '../../oci/reference.ts';
import { parsePrefetchLines } from '../../prefetch/lines.ts';
import type { RuleSource } from './match-rule.ts';

/** Bytes of the longest file of prefetch paths. */
const MAX_PREFETCH = 256 * 1024;

/** An entry of the section, with its defaults. docs/configuration.md describes the keys. */
export interface RuleEntry {
  readonly repositories: readonly string[];
  readonly excludeRepositories?: readonly string[] | undefined;
  readonly tags: { readonly include?: readonly string[] | undefined; readonly exclude?: readonly string[] | undefined };
  readonly mode: Mode;
  readonly platforms?: readonly string[] | undefined;
  readonly prefetch?: readonly string[] | undefined;
  readonly prefetchFile?: string | undefined;
  readonly targetRepository?: string | undefined;
  readonly verify: 'off' | 'quick' | 'full';
  readonly algorithm?: Algorithm | undefined;
  readonly level?: number | undefined;
  /** Bytes, or such as 64Ki. */
  readonly blockSize?: number | string | undefined;
  readonly layout?: 'source' | 'startup' | undefined;
}

/** The rules of a section. Throws `usage` for one that cannot be used, `io-error` for a file of paths that cannot be read. */
export function ruleSources(entries: readonly RuleEntry[]): Promise<RuleSource[]> {
  return Promise.all(entries.map(sourceOf));
}

async function sourceOf(rule: RuleEntry, index: number): Promise<RuleSource> {
  const { repositories, excludeRepositories, tags, prefetchFile, prefetch, blockSize, targetRepository } = rule;
  const where = { rule: index + 1 };
  if (prefetch !== undefined && prefetchFile !== undefined) {
    throw new AccelError('usage', 'a rule has one prefetch list', { where, expected: 'prefetch or prefetchFile' });
  }
  checkOptions(rule, where);
  const lines = prefetchFile === undefined ? prefetch : await readLines(prefetchFile, where);
  const size = blockSize === undefined ? undefined : blockBytes(blockSize);
  if (size !== undefined && !Number.isInteger(Math.log2(size))) {
    throw new AccelError('usage', 'the size of a block is a power of two', { where, found: size });
  }
  if (lines !== undefined) namingKey(where, 'prefetch', () => parsePrefetchLines(lines));
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
    ...(rule.level === undefined ? {} : { level: rule.level }),
    ...(size === undefined ? {} : { blockSize: size }),
    ...(rule.layout === 'startup' ? { layout: rule.layout } : {}),
  };
}

/** Bytes of a block size that a schema accepted: a number, or kibibytes such as 64Ki or 64K. */
function blockBytes(value: number | string): number {
  return typeof value === 'number' ? value : Number.parseInt(value, 10) * 1024;
}

/** Refuses, once, options that the converter would refuse for each image. */
function checkOptions(
  { platforms = [], repositories, targetRepository, algorithm, level }: RuleEntry,
  where: { readonly rule: number },
): void {
  if (level !== undefined && algorithm === 'lz4' && !isLz4Level(level)) {
    throw new AccelError('usage', 'LZ4 does not have this level', {
      where: { ...where, key: 'level' },
      expected: `${LZ4_LEVELS.lowest} to ${LZ4_LEVELS.highest}`,
      found: level,
      hint: 'Leave it out for the fastest compression, or choose zstd, which has levels 1 to 22.',
    });
  }
  for (const platform of platforms) namingKey(where, 'platforms', () => parsePlatform(platform));
  if (targetRepository !== undefined) {
    const { kind } = namingKey(where, 'targetRepository', () => parseRepository(targetRepository));
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
export function namingKey<T>(where: Readonly<Record<string, number>>, key: string, body: () => T): T {
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
