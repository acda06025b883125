import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isPattern, nameMatcher } from './glob.ts';

describe('a component of a pattern', () => {
  it.each([
    ['*', 'anything', true],
    ['*', '.hidden', true],
    ['*.so', 'a.so', true],
    ['*.so', 'a.so.1', false],
    ['lib*.so*', 'libc.so.6', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['?', 'a', true],
    ['?', '', false],
    ['?', 'ab', false],
    ['[abc]x', 'bx', true],
    ['[a-c]x', 'dx', false],
    ['[!a-c]x', 'dx', true],
    ['[!a-c]x', 'ax', false],
    ['x[', 'x[', true],
    ['[]', '[]', true],
    ['**', 'a', true],
    ['a+b', 'a+b', true],
    ['a.b', 'axb', false],
  ])('%s against %s: %s', (pattern, name, matches) => expect(nameMatcher(pattern)(name)).toBe(matches));

  it('is one when it holds a wildcard', () => {
    expect(['/a/*', '/a/?b', '/[ab]/c', '/**/x'].map(isPattern)).toEqual([true, true, true, true]);
    expect(['/usr/bin/[', '/a/b', '/a]'].map(isPattern)).toEqual([false, false, false]);
  });

  it('matches as a shell does', () => {
    const char = fc.constantFrom('a', 'b', '-', '.');
    const piece = fc.oneof(char, fc.constantFrom('*', '?', '[ab]', '[!a]', '[a-b]'));
    const cases = fc.sample(
      fc.tuple(
        fc.array(piece, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('')),
        fc.array(char, { maxLength: 6 }).map((parts) => parts.join('')),
      ),
      { numRuns: 400, seed: 7 },
    );
    const script = 'while IFS="\t" read -r p n; do case "$n" in $p) echo y;; *) echo n;; esac; done';
    const input = cases.map(([pattern, name]) => `${pattern}\t${name}\n`).join('');
    const { stdout } = spawnSync('sh', ['-c', script], { input, encoding: 'utf8', env: { LC_ALL: 'C' } });
    const answers = stdout.trim().split('\n');
    expect(answers).toHaveLength(cases.length);
    expect(cases.map(([pattern, name]) => (nameMatcher(pattern)(name) ? 'y' : 'n'))).toEqual(answers);
  });

  it('takes no more than its length squared for a hostile one', () => {
    const matches = nameMatcher(`${'a*'.repeat(120)}b`);
    expect(matches('a'.repeat(255))).toBe(false);
  });
});
