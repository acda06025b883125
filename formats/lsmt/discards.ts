/**
 * Implements "drop the mappings of this range made so far" for a list of segments that is only put in order at the end:
 * each discard is a range and a time, and a segment dies where a later discard covers it.
 */
import { SegmentTable } from './segment-table.ts';

interface Discard {
  readonly start: number;
  readonly end: number;
  /** Rows of the table that existed: those below this number are hit. */
  readonly time: number;
}

/** Collects discards (in sectors) and applies them all at once. */
export class Discards {
  readonly #list: Discard[] = [];

  /** Number of discards so far. */
  get count(): number {
    return this.#list.length;
  }

  /** Notes that the rows below `time` lose the sectors from `start` to `end`. */
  add(start: number, end: number, time: number): void {
    this.#list.push({ start, end, time });
  }

  /** The table without what was discarded, its rows in their old order; rows that are hit in part are cut. */
  apply(table: SegmentTable, limit: number): SegmentTable {
    if (this.#list.length === 0) return table;
    const { bounds, times } = this.#latest();
    const kept = new SegmentTable(limit);
    for (let i = 0; i < table.count; i++) {
      const end = table.end(i);
      let at = table.start(i);
      let piece = lastAtOrBelow(bounds, at);
      // Walks the pieces of the time line below this row; `from` is where what still lives of it began.
      let from = at;
      while (at < end) {
        const next = Math.min(end, bounds[piece + 1] ?? end);
        if ((times[piece] ?? 0) > i) {
          if (at > from) kept.pushPart(table, i, from - table.start(i), at - from);
          from = next;
        }
        at = next;
        piece++;
      }
      if (end > from) kept.pushPart(table, i, from - table.start(i), end - from);
    }
    return kept;
  }

  /**
   * The device cut at every end of a discard: `bounds` in order and, for the piece that each begins, the time of the
   * last discard that covers it (0: none). Painting from the newest back, each piece is painted once.
   */
  #latest(): { bounds: Float64Array; times: Float64Array } {
    const bounds = Float64Array.from(new Set(this.#list.flatMap((d) => [d.start, d.end]))).sort();
    const times = new Float64Array(bounds.length);
    // next[p]: the first piece from p on that is not painted yet.
    const next = Int32Array.from({ length: bounds.length + 1 }, (_, i) => i);
    const unpainted = (p: number): number => {
      let root = p;
      while (next[root] !== root) root = next[root]!;
      for (let at = p; at !== root; ) {
        const after = next[at]!;
        next[at] = root;
        at = after;
      }
      return root;
    };
    for (let d = this.#list.length - 1; d >= 0; d--) {
      const { start, end, time } = this.#list[d]!;
      const stop = lastAtOrBelow(bounds, end);
      for (let p = unpainted(lastAtOrBelow(bounds, start)); p < stop; p = unpainted(p)) {
        times[p] = time;
        next[p] = p + 1;
      }
    }
    return { bounds, times };
  }
}

/** Index of the last bound that is not above `value`; -1 if all are. */
function lastAtOrBelow(bounds: Float64Array, value: number): number {
  let low = 0;
  let high = bounds.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (bounds[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
