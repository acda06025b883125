/** Ranges of an annotation: few, and none lost. */
import { expect, it } from 'vitest';
import { joinRanges } from './join-ranges.ts';

const range = (offset: number, length: number) => ({ offset, length });

it('near ranges are one, in order, whatever order they come in', () => {
  const ranges = [range(500_000, 10), range(100, 50), range(120, 5), range(200, 0), range(65_600, 1000)];
  expect(joinRanges(ranges)).toEqual([range(100, 66_500), range(500_000, 10)]);
});

it('of too many those with the smallest gaps are one as well, and all are covered', () => {
  const ranges = Array.from({ length: 400 }, (_, i) => range(i * 1_000_000 + (i < 100 ? i * 1000 : 0), 4096));
  const joined = joinRanges(ranges);
  expect(joined).toHaveLength(128);
  // The gaps between the first hundred are the widest.
  expect(joined.slice(0, 99)).toEqual(ranges.slice(0, 99));
  for (const { offset, length } of ranges)
    expect(joined.some((one) => one.offset <= offset && offset + length <= one.offset + one.length)).toBe(true);
});

it('nothing is nothing', () => {
  expect(joinRanges([])).toEqual([]);
});
