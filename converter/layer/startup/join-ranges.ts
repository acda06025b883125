/** Parts of a file as few ranges: for an annotation, which must stay short. */
import type { FrontRange } from '../../../formats/lsmt/rearrange.ts';

/** Bytes between two ranges that become one. */
const GAP = 65_536;
/** Ranges at most: the annotation has some 2 KB then. */
const MOST = 128;

/** The ranges in ascending order, near ones as one; where they are too many, only the widest gaps remain between them. */
export function joinRanges(ranges: readonly FrontRange[]): FrontRange[] {
  const sorted = ranges.filter(({ length }) => length > 0).sort((a, b) => a.offset - b.offset);
  const joined = joinedUnless(sorted, (gap) => gap > GAP);
  if (joined.length <= MOST) return joined;
  const gaps = joined.slice(1).map(({ offset }, i) => ({ before: offset, size: offset - endOf(joined[i]!) }));
  const widest = gaps.sort((a, b) => b.size - a.size || a.before - b.before).slice(0, MOST - 1);
  const kept = new Set(widest.map(({ before }) => before));
  return joinedUnless(joined, (_, before) => kept.has(before));
}

/** Ranges in ascending order, as one unless the gap between two of them is kept: by its size, and the byte where it ends. */
function joinedUnless(sorted: readonly FrontRange[], isKept: (gap: number, before: number) => boolean): FrontRange[] {
  const out: FrontRange[] = [];
  for (const range of sorted) {
    const before = out.at(-1);
    if (before === undefined || isKept(range.offset - endOf(before), range.offset)) out.push(range);
    else out[out.length - 1] = { offset: before.offset, length: Math.max(endOf(before), endOf(range)) - before.offset };
  }
  return out;
}

function endOf({ offset, length }: FrontRange): number {
  return offset + length;
}
