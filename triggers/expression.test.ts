import { expect, it } from 'vitest';
import { DEFAULT_EXPRESSION, tagMatcher } from './expression.ts';

it.each([
  ['1.2_accelerated', true],
  ['1.2_containerd_accelerated', true],
  ['1.2', false],
  ['1.2_accelerated_old', false],
  ['accelerated', false],
])('the default and %s', (tag, expected) => expect(tagMatcher(DEFAULT_EXPRESSION)(tag)).toBe(expected));

it('matches one tag after another, without state between matches', () => {
  const matches = tagMatcher('^v\\d+_obd$');
  expect(['v1_obd', 'v1', 'v2_obd'].map(matches)).toEqual([true, false, true]);
});

it.each([
  ['that is invalid', '('],
  ['that is too long', 'a'.repeat(513)],
])('refuses an expression %s', (_, text) => {
  expect(() => tagMatcher(text)).toThrow(expect.objectContaining({ code: 'usage' }));
});

// Without the bound this would take longer than anyone waits: 2^126 steps.
it('stops an expression that backtracks without end', () => {
  const matches = tagMatcher('^(a+)+$');
  expect(() => matches(`${'a'.repeat(127)}b`)).toThrow(
    expect.objectContaining({ code: 'usage', expected: 'an expression that matches a tag at once' }),
  );
  expect(matches('aaa')).toBe(true);
});
