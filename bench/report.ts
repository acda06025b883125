/** Rounds of measurements to Markdown tables of medians. */
import type { Usage } from './child.ts';

/** All rounds of one row. */
export interface Row {
  /** A mode of conversion, the baseline, or another program. */
  readonly what: string;
  /** Empty for a program that is not installed, or that failed. */
  readonly rounds: readonly Usage[];
  /** Message of a program that failed; its rounds are dropped. */
  readonly failed?: string;
  /** Bytes that the conversion pushed; undefined for what makes nothing. */
  readonly pushed?: number;
}

/** Context that the rows of a table share. */
export interface TableContext {
  /** The row that the ratios are to. */
  readonly baseline: string;
  /** Bytes of the compressed source layers. */
  readonly source: number;
  /** Bytes of their uncompressed tars. */
  readonly tar: number;
}

/** The middle of the values, the mean of the two middle ones when their number is even. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The median of one figure over a row's rounds. */
export function middle(row: Row, pick: (usage: Usage) => number): number {
  return median(row.rounds.map(pick));
}

/** Largest resident set of the worst round in bytes: a limit on memory has to hold each time. */
export function worstRss(row: Row): number {
  return Math.max(...row.rounds.map((usage) => usage.peakRss));
}

/** The rows as a Markdown table; ratios are medians over the median of the baseline. */
export function formatTable(rows: readonly Row[], { baseline, source, tar }: TableContext): string {
  const base = rows.find((row) => row.what === baseline);
  const lines = rows.map((row) => {
    if (row.rounds.length === 0)
      return [row.what, row.failed === undefined ? 'not installed' : '**failed**', ...Array<string>(8).fill('')];
    const ratio = (pick: (usage: Usage) => number) =>
      base === undefined ? '' : figure(middle(row, pick) / middle(base, pick), 2);
    return [
      row.what,
      withSpread(row, wallOf),
      ratio(wallOf),
      figure(tar / 1e6 / middle(row, wallOf), 0),
      withSpread(row, cpuOf),
      ratio(cpuOf),
      figure(worstRss(row) / 2 ** 20, 0),
      figure(middle(row, (usage) => usage.written) / 1e6, 0),
      row.pushed === undefined ? '' : figure(row.pushed / 1e6, 1),
      row.pushed === undefined ? '' : figure((row.pushed / source) * 100, 1),
    ];
  });
  const head = [
    'what',
    'wall s',
    '×',
    'tar MB/s',
    'CPU s',
    '×',
    'peak RSS MiB',
    'written MB',
    'pushed MB',
    '% of source',
  ];
  return markdownTable(head, lines);
}

/** Cells as a Markdown table; all columns but the first `text` ones are numbers. */
export function markdownTable(head: readonly string[], lines: readonly (readonly string[])[], text = 1): string {
  const separator = head.map((_, column) => (column < text ? '---' : '---:'));
  return [head, separator, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** The median of a row, with the least and the most of its rounds in brackets. */
export function withSpread(row: Row, pick: (usage: Usage) => number): string {
  const values = row.rounds.map(pick);
  return `${figure(median(values), 2)} (${figure(Math.min(...values), 2)}–${figure(Math.max(...values), 2)})`;
}

/** A number with fixed digits; n/a for what the system does not count. */
export function figure(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : 'n/a';
}

/** Seconds of wall time. */
export const wallOf = (usage: Usage): number => usage.wall;

/** Seconds of processor time. */
export const cpuOf = (usage: Usage): number => usage.cpu;
