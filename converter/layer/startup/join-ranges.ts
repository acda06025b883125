/** Parts of a file as few ranges: for an annotation, which must stay short. */
import type { FrontRange } from '../../../formats/lsmt/rearrange.ts';

/** Bytes between two ranges that become one. */
const GAP = 65_536;
/** Ranges at most: the annotation has some 2 KB then. */
const MOST = 128;

/** The ranges in ascending order, near ones as one; where they are too many, those with the smallest gaps as well. */
export function joinRanges(ranges: readonly FrontRange[]): FrontRange[] {
  const sorted = ranges.filter(({ length }) => length > 0).sort((a, b) => a.offset - b.offset);
  const joined = joinWithin(sorted, GAP);
  if (joined.length <= MOST) return joined;
  const gaps = joined.slice(1).map(({ offset }, i) => offset - endOf(joined[i]!));
  const widest = gaps.sort((a, b) => b - a)[MOST - 1]!;
  return joinWithin(joined, widest);
}

function joinWithin(sorted: readonly FrontRange[], gap: number): FrontRange[] {
  const out: FrontRange[] = [];
  for (const range of sorted) {
    const before = out.at(-1);
    if (before === undefined || range.offset - endOf(before) > gap) out.push(range);
    else out[out.length - 1] = { offset: before.offset, length: Math.max(endOf(before), endOf(range)) - before.offset };
  }
  return out;
}

function endOf({ offset, length }: FrontRange): number {
  return offset + length;
}
