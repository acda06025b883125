/** Rounds of measurements to a Markdown table of medians. */
import type { Usage } from './measure.ts';

/** All rounds of one row. */
export interface Row {
  readonly image: string;
  /** A mode of conversion, or the baseline. */
  readonly what: string;
  readonly rounds: readonly Usage[];
  /** Bytes that the conversion pushed; undefined for the baseline. */
  readonly pushed?: number;
  /** Bytes of the source layers. */
  readonly source: number;
}

/** The middle of the values, the mean of the two middle ones when their number is even. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The rows as a Markdown table; ratios are medians over the median of `baseline` of the same image. */
export function formatTable(rows: readonly Row[], baseline: string): string {
  const head = ['image', 'what', 'wall s', '×', 'CPU s', '×', 'peak RSS MiB', 'written MB', 'pushed MB', '% of source'];
  const lines = rows.map((row) => {
    const base = rows.find((other) => other.image === row.image && other.what === baseline);
    const middle = (pick: (usage: Usage) => number, of: Row = row) => median(of.rounds.map(pick));
    const ratio = (pick: (usage: Usage) => number) =>
      base === undefined ? '' : (middle(pick) / middle(pick, base)).toFixed(2);
    return [
      row.image,
      row.what,
      `${middle((usage) => usage.wall).toFixed(2)} (${spread(row.rounds.map((usage) => usage.wall))})`,
      ratio((usage) => usage.wall),
      middle((usage) => usage.cpu).toFixed(2),
      ratio((usage) => usage.cpu),
      // The worst round, not the middle one: a limit on memory has to hold each time.
      (Math.max(...row.rounds.map((usage) => usage.peakRss)) / 2 ** 20).toFixed(0),
      (middle((usage) => usage.written) / 1e6).toFixed(0),
      row.pushed === undefined ? '' : (row.pushed / 1e6).toFixed(1),
      row.pushed === undefined ? '' : ((row.pushed / row.source) * 100).toFixed(1),
    ];
  });
  const separator = head.map((_, column) => (column < 2 ? '---' : '---:'));
  return [head, separator, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function spread(values: readonly number[]): string {
  return `${Math.min(...values).toFixed(1)}–${Math.max(...values).toFixed(1)}`;
}
