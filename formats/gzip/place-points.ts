/**
 * Chooses among many access points of a gzip stream: those that lie a span apart, and those beside data that is read first,
 * so that a read of it begins where the data does and ends with it.
 */
import type { AccessPoint, GzipIndex } from './points.ts';

/** A part of what the stream decompresses to, in bytes. */
export interface OutputRange {
  readonly offset: number;
  readonly length: number;
}

/** A point is worth its window where it spares so many times the bytes of it: everyone fetches windows, few the data. */
const WORTH = 2;

/** The index with the points of `span`, a multiple of its own, and those that spare more than they cost. */
export function placePoints(index: GzipIndex, span: number, first: Iterable<OutputRange>): GzipIndex {
  const { points } = index;
  const kept = points.map((_, i) => isOfSpan(index, i, span));
  const wanted = wantedParts(points, first);
  const isEdge = (i: number): boolean => kept[i] === true || i === points.length;
  for (let from = 0; from < points.length; ) {
    if (wanted[from] === true) {
      from++;
      continue;
    }
    let to = from;
    while (to < points.length && wanted[to] !== true) to++;
    // Reads before the gap go on to the first point in it, reads after it begin at the last.
    let near = from;
    while (near < to && !isEdge(near)) near++;
    let far = to;
    while (far > from && !isEdge(far)) far--;
    if (isEdge(near) && isEdge(far)) {
      if (from > 0 && spares(index, from, near, [from])) kept[from] = true;
      if (to < points.length && spares(index, far, to, [to])) kept[to] = true;
    } else if (spares(index, from, to, [from, to])) {
      kept[from] = true;
      kept[to] = true;
    }
    from = to;
  }
  return { ...index, span, points: points.filter((_, i) => kept[i]) };
}

/** The points from which on, up to the next point, something of the ranges is decompressed. */
export function pointsBeside({ points }: Pick<GzipIndex, 'points'>, ranges: Iterable<OutputRange>): Set<AccessPoint> {
  const wanted = wantedParts(points, ranges);
  return new Set(points.filter((_, i) => wanted[i]));
}

/** Whether a point is the last one at or before a multiple of the span. */
function isOfSpan({ points, uncompressedSize }: GzipIndex, i: number, span: number): boolean {
  const at = points[i]!.outputOffset;
  const next = points[i + 1]?.outputOffset ?? uncompressedSize;
  return i === 0 || Math.ceil(at / span) * span < next;
}

/** By the number of the point that they begin at: the parts of the output that hold something of the ranges. */
function wantedParts(points: readonly AccessPoint[], ranges: Iterable<OutputRange>): readonly boolean[] {
  const wanted = points.map(() => false);
  for (const { offset, length } of ranges) {
    if (length === 0) continue;
    for (let i = partAt(points, offset); i < points.length && points[i]!.outputOffset < offset + length; i++)
      wanted[i] = true;
  }
  return wanted;
}

function partAt(points: readonly AccessPoint[], offset: number): number {
  let low = 0;
  let high = points.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (points[middle]!.outputOffset <= offset) low = middle;
    else high = middle;
  }
  return low;
}

function spares({ points, compressedSize }: GzipIndex, from: number, to: number, needed: readonly number[]): boolean {
  const inputAt = (i: number): number => points[i]?.inputOffset ?? compressedSize;
  const windows = needed.reduce((sum, i) => sum + (points[i]?.window.length ?? 0), 0);
  return inputAt(to) - inputAt(from) > WORTH * windows;
}
