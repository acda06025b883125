/** The Range header of clients. */
import { expect, it } from 'vitest';
import { contentRange, isCurrent, parseRange } from './client-range.ts';

it.each([
  [undefined, undefined],
  ['bytes=0-', { start: 0, end: 1000 }],
  ['bytes=0-0', { start: 0, end: 1 }],
  ['bytes=10-19', { start: 10, end: 20 }],
  ['bytes=990-5000', { start: 990, end: 1000 }],
  ['bytes=999-', { start: 999, end: 1000 }],
  ['bytes=-10', { start: 990, end: 1000 }],
  ['bytes=-5000', { start: 0, end: 1000 }],
  ['bytes=1000-', 'unsatisfiable'],
  ['bytes=-0', 'unsatisfiable'],
  ['bytes=5-4', undefined],
  ['bytes=0-1,5-6', undefined],
  ['bytes=-', undefined],
  ['items=0-1', undefined],
  ['bytes=a-b', undefined],
])('%s', (header, expected) => {
  expect(parseRange(header, 1000)).toEqual(expected);
});

it.each([
  [undefined, true],
  ['"sha256:aa"', true],
  ['"sha256:bb"', false],
  ['W/"sha256:aa"', false],
  ['sha256:aa', false],
  ['Sat, 28 Nov 2026 14:00:00 GMT', false],
])('If-Range: %s', (header, expected) => {
  expect(isCurrent(header, 'sha256:aa')).toBe(expected);
});

it('an empty content has no range', () => {
  expect(parseRange('bytes=0-0', 0)).toBe('unsatisfiable');
});

it('says what it sends', () => {
  expect(contentRange({ start: 0, end: 1 }, 1000)).toBe('bytes 0-0/1000');
});
