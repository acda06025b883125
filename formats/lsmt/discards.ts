/**
 * Implements "drop the mappings of this range made so far" for a list of segments that is only put in order at the end:
 * each discard is a range and a time, and a segment dies where a later discard covers it.
 */
import { ROWS_PER_STEP } from './index-codec.ts';
import { SegmentTable } from './segment-table.ts';

/** Numbers of a discard: start, end, and the rows of the table that existed (those below are hit). */
const WIDTH = 3;

/** Collects discards (in sectors) and applies them all at once. */
export class Discards {
  #list = new Float64Array(64 * WIDTH);
  #count = 0;

  /** Number of discards so far. */
  get count(): number {
    return this.#count;
  }

  /** Notes that the rows below `time` lose the sectors from `start` to `end`. */
  add(start: number, end: number, time: number): void {
    const at = this.#count++ * WIDTH;
    if (at === this.#list.length) {
      const wider = new Float64Array(at * 2);
      wider.set(this.#list);
      this.#list = wider;
    }
    this.#list[at] = start;
    this.#list[at + 1] = end;
    this.#list[at + 2] = time;
  }

  /**
   * The table without what was discarded, its rows in their old order; rows that are hit in part are cut. Uses `table` up
   * where there are discards: the memory of its rows goes as their copies come.
   */
  *apply(table: SegmentTable, limit: number): Generator<undefined, SegmentTable> {
    if (this.#count === 0) return table;
    const { bounds, times } = this.#latest();
    const kept = new SegmentTable(limit);
    for (let i = 0; i < table.count; i++) {
      if (i % ROWS_PER_STEP === ROWS_PER_STEP - 1) {
        table.forgetBelow(i);
        yield;
      }
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
    table.drop();
    return kept;
  }

  /**
   * The device cut at every end of a discard: `bounds` in order and, for the piece that each begins, the time of the
   * last discard that covers it (0: none). Painting from the newest back, each piece is painted once.
   */
  #latest(): { bounds: Float64Array; times: Float64Array } {
    const bounds = this.#bounds();
    const times = new Float64Array(bounds.length);
    // next[p]: the first piece from p on that is not painted yet.
    const next = new Int32Array(bounds.length + 1);
    for (let i = 0; i < next.length; i++) next[i] = i;
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
    for (let at = (this.#count - 1) * WIDTH; at >= 0; at -= WIDTH) {
      const [start, end, time] = [this.#list[at]!, this.#list[at + 1]!, this.#list[at + 2]!];
      const stop = lastAtOrBelow(bounds, end);
      for (let p = unpainted(lastAtOrBelow(bounds, start)); p < stop; p = unpainted(p)) {
        times[p] = time;
        next[p] = p + 1;
      }
    }
    return { bounds, times };
  }

  /** Where discards begin or end, ascending, each once. */
  #bounds(): Float64Array {
    const all = new Float64Array(this.#count * 2);
    for (let d = 0; d < this.#count; d++) {
      all[2 * d] = this.#list[d * WIDTH]!;
      all[2 * d + 1] = this.#list[d * WIDTH + 1]!;
    }
    all.sort();
    let count = 0;
    for (const bound of all) if (count === 0 || bound !== all[count - 1]) all[count++] = bound;
    return all.subarray(0, count);
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
