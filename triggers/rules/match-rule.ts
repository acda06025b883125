/**
 * Rules: which images are converted, and how. The first rule that covers an image decides. The conversion service and
 * `accel convert` by a file of rules use the same ones.
 */
import { createHash } from 'node:crypto';
import { AccelError } from '../../base/error.ts';
import type { Algorithm, Mode } from '../../converter/options.ts';
import { DOCKER_HUB } from '../../oci/reference.ts';
import { compilePattern, type Pattern } from './pattern.ts';

/** Options of a conversion that a rule sets. */
export interface RuleOptions {
  readonly mode: Mode;
  /** `os/arch[/variant]`; empty: every Linux platform of the image. */
  readonly platforms: readonly string[];
  /** Lines of a prefetch list; absent: the list that the replaced image has is kept. */
  readonly prefetch?: readonly string[];
  /** Repository of the result; absent: that of the source. */
  readonly targetRepository?: string;
  /** Verification of the result. */
  readonly verify: 'off' | 'quick' | 'full';
  /** Absent: the default of the converter. */
  readonly algorithm?: Algorithm;
  /** Level of compression; absent: the default of the algorithm. */
  readonly level?: number;
  /** Bytes of a compressed block; absent: the default of the converter. */
  readonly blockSize?: number;
  /** Order of the data in layers; absent: that of the source. */
  readonly layout?: 'startup';
}

/** A rule as it is written: globs (pattern.ts), and options. */
export interface RuleSource extends RuleOptions {
  /** Globs of `HOST/REPOSITORY`, of which one must match. */
  readonly repositories: readonly string[];
  readonly excludeRepositories?: readonly string[];
  /** Globs of tags, of which one must match; absent: every tag. */
  readonly includeTags?: readonly string[];
  readonly excludeTags?: readonly string[];
}

/** An image to find a rule for. */
export interface RuleSubject {
  /** `host[:port]/repository`, canonical (oci/reference.ts, formatReference). */
  readonly repository: string;
  /** Absent for a whole repository: then patterns of tags do not count. */
  readonly tag?: string;
}

/** The verdict of one rule about an image, and the pattern that decides. */
export interface RuleVerdict {
  /** Position in the file, 1 = first. */
  readonly rule: number;
  readonly outcome: 'covers' | 'other-repository' | 'excluded-repository' | 'other-tag' | 'excluded-tag';
  /** The pattern that covers or excludes; absent where no pattern matched. */
  readonly pattern?: string;
}

/** A rule that covers an image. */
export interface MatchedRule {
  /** Position in the file, 1 = first. */
  readonly number: number;
  /** Identifies the options: two rules with the same options have the same identity. 16 hexadecimal digits. */
  readonly identity: string;
  readonly options: RuleOptions;
}

/** The answer about an image. */
export interface RuleMatch {
  /** The first rule that covers the image. */
  readonly rule?: MatchedRule;
  /** The verdicts up to it, in the order of the file. */
  readonly verdicts: readonly RuleVerdict[];
}

/** All rules of a file. */
export interface RuleSet {
  /** Finds the rule of an image. */
  match(subject: RuleSubject): RuleMatch;
  /** All rules that cover some tags of a repository, in the order of the file. */
  covering(repository: string): readonly MatchedRule[];
  /** Globs of all rules' repositories, canonical. */
  readonly repositories: readonly Pattern[];
  /** Hosts that patterns name without a wildcard, canonical. */
  readonly hosts: ReadonlySet<string>;
}

interface CompiledRule extends MatchedRule {
  readonly repositories: readonly Pattern[];
  readonly excludeRepositories: readonly Pattern[];
  readonly includeTags: readonly Pattern[] | undefined;
  readonly excludeTags: readonly Pattern[];
}

/** Other names of Docker Hub, which references spell docker.io. */
const HUB_NAMES: readonly string[] = ['index.docker.io', 'registry.hub.docker.com', DOCKER_HUB];

/** Compiles the rules of a file. Throws `usage` for a pattern that cannot be used, with the place of its rule. */
export function compileRules(sources: readonly RuleSource[]): RuleSet {
  const hosts = new Set<string>();
  const rules = sources.map((source, index): CompiledRule => {
    const number = index + 1;
    const compile = (key: string, patterns: readonly string[] = []): Pattern[] =>
      patterns.map((text) => withRule(number, key, () => compilePattern(text)));
    const repositories = source.repositories.map(canonicalPattern);
    for (const pattern of repositories) {
      const host = withRule(number, 'repositories', () => patternHost(pattern));
      if (!/[*?[{]/.test(host)) hosts.add(host);
    }
    const options = optionsOf(source);
    return {
      number,
      identity: createHash('sha256').update(JSON.stringify(options)).digest('hex').slice(0, 16),
      options,
      repositories: compile('repositories', repositories),
      excludeRepositories: compile('excludeRepositories', source.excludeRepositories?.map(canonicalPattern)),
      includeTags: source.includeTags === undefined ? undefined : compile('tags.include', source.includeTags),
      excludeTags: compile('tags.exclude', source.excludeTags),
    };
  });
  return {
    hosts,
    repositories: rules.flatMap((rule) => rule.repositories),
    match: (subject) => match(rules, subject),
    covering: (repository) =>
      rules.filter((rule) => verdictOf(rule, { repository }).outcome === 'covers').map(matchedOf),
  };
}

function match(rules: readonly CompiledRule[], subject: RuleSubject): RuleMatch {
  const verdicts: RuleVerdict[] = [];
  for (const rule of rules) {
    const verdict = { rule: rule.number, ...verdictOf(rule, subject) };
    verdicts.push(verdict);
    if (verdict.outcome !== 'covers') continue;
    return { rule: matchedOf(rule), verdicts };
  }
  return { verdicts };
}

function matchedOf({ number, identity, options }: CompiledRule): MatchedRule {
  return { number, identity, options };
}

function verdictOf(rule: CompiledRule, { repository, tag }: RuleSubject): Omit<RuleVerdict, 'rule'> {
  const first = (patterns: readonly Pattern[], text: string): Pattern | undefined =>
    patterns.find((pattern) => pattern.matches(text));
  const covering = first(rule.repositories, repository);
  if (covering === undefined) return { outcome: 'other-repository' };
  const without = first(rule.excludeRepositories, repository);
  if (without !== undefined) return { outcome: 'excluded-repository', pattern: without.text };
  if (tag === undefined) return { outcome: 'covers', pattern: covering.text };
  const included = rule.includeTags === undefined ? covering : first(rule.includeTags, tag);
  if (included === undefined) return { outcome: 'other-tag' };
  const excluded = first(rule.excludeTags, tag);
  if (excluded !== undefined) return { outcome: 'excluded-tag', pattern: excluded.text };
  return { outcome: 'covers', pattern: included.text };
}

/** The options alone, in one order: their text identifies them. */
function optionsOf(source: RuleSource): RuleOptions {
  const { mode, platforms, prefetch, targetRepository, verify, algorithm, level, blockSize, layout } = source;
  return {
    mode,
    platforms: [...platforms],
    ...(prefetch === undefined ? {} : { prefetch: [...prefetch] }),
    ...(targetRepository === undefined ? {} : { targetRepository }),
    verify,
    ...(algorithm === undefined ? {} : { algorithm }),
    ...(level === undefined ? {} : { level }),
    ...(blockSize === undefined ? {} : { blockSize }),
    ...(layout === undefined ? {} : { layout }),
  };
}

/** A pattern with the name that references give to Docker Hub. */
export function canonicalPattern(pattern: string): string {
  const [host = '', ...rest] = pattern.split('/');
  return HUB_NAMES.includes(host) ? ['docker.io', ...rest].join('/') : pattern;
}

/** The host of a canonical pattern of repositories. Throws `usage` where the first part cannot be one. */
export function patternHost(pattern: string): string {
  const slash = pattern.indexOf('/');
  const host = slash < 0 ? pattern : pattern.slice(0, slash);
  if (host.startsWith('**') || (slash > 0 && (/[.:*?[{]/.test(host) || host === 'localhost'))) return host;
  throw new AccelError('usage', 'a pattern of repositories begins with the host of its registry', {
    where: { pattern },
    expected: 'HOST/REPOSITORY, such as registry.example.com/team/*',
    found: pattern,
    hint: `For Docker Hub write docker.io/${pattern}; for all registries **/${pattern}.`,
  });
}

function withRule<T>(number: number, key: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof AccelError)) throw error;
    throw new AccelError(error.code, error.message, {
      ...error.details,
      where: { rule: number, key, ...error.where },
    });
  }
}
