/** Patterns and rules: tables of what matches, and the time of a pattern that would explode in a regular expression. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileRules, type RuleSource } from './match-rule.ts';
import { compilePattern } from './pattern.ts';

describe('a pattern', () => {
  it.each([
    ['app', 'app', true],
    ['app', 'apple', false],
    ['', '', true],
    ['*', '', true],
    ['*', 'v1.2-rc', true],
    ['*', 'a/b', false],
    ['r.io/team/*', 'r.io/team/app', true],
    ['r.io/team/*', 'r.io/team/sub/app', false],
    ['r.io/team/**', 'r.io/team/sub/app', true],
    ['r.io/team/**', 'r.io/team', false],
    ['r.io/**/app', 'r.io/app', true],
    ['r.io/**/app', 'r.io/a/b/app', true],
    ['r.io/**/app', 'r.io/aapp', false],
    ['**/app', 'app', true],
    ['**', 'r.io/a/b', true],
    ['r.io/a**b', 'r.io/a/x/b', true],
    ['v?', 'v1', true],
    ['v?', 'v', false],
    ['v?', 'v/', false],
    ['v[0-9]', 'v7', true],
    ['v[!0-9]', 'v7', false],
    ['v[!0-9]', 'vx', true],
    ['v[!0-9]', 'v/', false],
    ['v[]]', 'v]', true],
    ['v[a-]', 'v-', true],
    ['*-{debug,test}', 'x-test', true],
    ['*-{debug,test}', 'x-prod', false],
    ['{a,{b,c}d}e', 'cde', true],
    ['{a,}b', 'b', true],
    ['pr-*', 'pr-12', true],
    ['.*', 'abc', false],
    ['a+', 'aa', false],
  ])('%s on %s: %s', (pattern, text, expected) => expect(compilePattern(pattern).matches(text)).toBe(expected));

  it.each(['{a', 'a}', 'v[0-9', 'x'.repeat(513), '{a,b}'.repeat(7)])('%s is refused', (pattern) => {
    expect(() => compilePattern(pattern)).toThrow('this pattern cannot be used');
  });

  it('agrees with a regular expression', () => {
    const part = fc.constantFrom('a', 'b', '/', '*', '**', '?', '/**/', '[ab]');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), fc.stringMatching(/^[ab/]{0,8}$/), (parts, text) => {
        const pattern = parts.join('');
        expect(compilePattern(pattern).matches(text)).toBe(asRegExp(pattern).test(text));
      }),
      { numRuns: 3000 },
    );
  });

  // Backtracking needs some 10^20 steps for it, this 10^5.
  it('takes no exponential time', () => {
    expect(compilePattern(`${'*a'.repeat(100)}b`).matches('a'.repeat(400))).toBe(false);
  });
});

/** An independent translation, by rewriting text. */
function asRegExp(pattern: string): RegExp {
  const tokens = /(?<=^|\/)\*\*\/|\*\*|\*|\?/g;
  const regular: Readonly<Record<string, string>> = { '**/': '(?:[^]*/)?', '**': '[^]*', '*': '[^/]*', '?': '[^/]' };
  const source = pattern.replace(/\*{2,}/g, '**').replace(tokens, (token) => regular[token]!);
  return new RegExp(`^${source}$`);
}

const rule = (fields: Partial<RuleSource>): RuleSource => ({
  repositories: ['r.io/team/*'],
  mode: 'full',
  platforms: [],
  verify: 'off',
  ...fields,
});

describe('rules', () => {
  const rules = compileRules([
    rule({
      repositories: ['r.io/team/*'],
      excludeRepositories: ['r.io/team/private-*'],
      excludeTags: ['pr-*', '*-debug'],
    }),
    rule({ repositories: ['r.io/**'], includeTags: ['v*'], mode: 'index-only' }),
    rule({ repositories: ['index.docker.io/library/*'], targetRepository: 'r.io/mirror' }),
  ]);

  it.each([
    ['r.io/team/app', 'latest', 1, ['covers r.io/team/*']],
    ['r.io/team/app', 'pr-7', undefined, ['excluded-tag pr-*', 'other-tag', 'other-repository']],
    ['r.io/team/app', 'v1-debug', 2, ['excluded-tag *-debug', 'covers v*']],
    ['r.io/team/private-x', 'v1', 2, ['excluded-repository r.io/team/private-*', 'covers v*']],
    ['r.io/a/b/c', 'latest', undefined, ['other-repository', 'other-tag', 'other-repository']],
    ['docker.io/library/redis', '7', 3, ['other-repository', 'other-repository', 'covers docker.io/library/*']],
  ])('%s:%s', (repository, tag, number, verdicts) => {
    const match = rules.match({ repository, tag });
    expect(match.rule?.number).toBe(number);
    expect(match.verdicts.map(({ outcome, pattern }) => [outcome, pattern].filter(Boolean).join(' '))).toEqual(
      verdicts,
    );
  });

  it('cover a repository whatever its tags', () => {
    expect(rules.match({ repository: 'r.io/x' }).rule?.number).toBe(2);
  });

  it('name hosts, but not by a wildcard', () => {
    expect([...rules.hosts]).toEqual(['r.io', 'docker.io']);
    expect([...compileRules([rule({ repositories: ['**', '*.io/x', 'localhost/x', 'h:5000/x'] })]).hosts]).toEqual([
      'localhost',
      'h:5000',
    ]);
  });

  it('have the same identity exactly if their options are the same', () => {
    const identities = (fields: Partial<RuleSource>[]) =>
      compileRules(fields.map(rule)).match({ repository: 'r.io/team/a', tag: 'x' }).rule!.identity;
    expect(identities([{}])).toBe(identities([{ excludeTags: ['y'] }]));
    for (const other of [
      { mode: 'index-only' },
      { platforms: ['linux/arm64'] },
      { prefetch: [] },
      { level: 3 },
      { blockSize: 8192 },
      { layout: 'startup' },
    ] as const)
      expect(identities([other])).not.toBe(identities([{}]));
  });

  it.each([
    ['team/*', 'a pattern of repositories begins with the host'],
    ['r.io', 'a pattern of repositories begins with the host'],
    ['r.io/{a', 'this pattern cannot be used'],
  ])('%s is refused, with its rule', (pattern, message) => {
    expect(() => compileRules([rule({}), rule({ repositories: [pattern] })])).toThrow(
      expect.objectContaining({
        message: expect.stringContaining(message),
        where: expect.objectContaining({ rule: 2 }),
      }),
    );
  });
});
