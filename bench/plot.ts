/** Draws the rows of a table as bars: an SVG for the docs, the same text for the same rows, read in light and dark. */
import { cpuOf, figure, middle, type Row, type TableContext, wallOf, worstRss } from './report.ts';

/** Width of the column with the names of the rows, in pixels like all lengths here. */
const NAMES = 190;
/** Width of a panel: its longest bar, its figure, and the gap before the next one. */
const PANEL = 155;
/** Length of the longest bar of a panel. */
export const LONGEST_BAR = 95;
const ROW = 22;
const BAR = 12;
const HEAD = 52;
const MARGIN = 12;

/** One measure of all rows. */
interface Panel {
  /** Its head, with the unit. */
  readonly name: string;
  readonly digits: number;
  /** The figure of a row, in that unit; NaN where nothing was measured. */
  of(row: Row): number;
}

/** Bars of time, processor time, memory and bytes of the baseline and the conversions; other programs are left out. */
export function plot(title: string, rows: readonly Row[], context: TableContext): string {
  const shown = rows.filter(
    ({ what, rounds, pushed }) => rounds.length > 0 && (what === context.baseline || pushed !== undefined),
  );
  const panels = panelsOf(context);
  const width = MARGIN + NAMES + panels.length * PANEL;
  const height = HEAD + shown.length * ROW + MARGIN;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title desc">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="desc">${escaped(description(shown, panels))}</desc>`,
    STYLE,
    `<rect class="page" width="${width}" height="${height}" rx="8"/>`,
    text(MARGIN, 20, title, 'title'),
    ...shown.map(({ what }, index) => text(MARGIN, baselineOf(index), what)),
    ...panels.flatMap((panel, index) => drawPanel(panel, MARGIN + NAMES + index * PANEL, shown, context.baseline)),
    '</svg>',
  ].join('\n')}\n`;
}

function panelsOf({ baseline, source }: TableContext): Panel[] {
  return [
    { name: 'time, s', digits: 2, of: (row) => middle(row, wallOf) },
    { name: 'CPU, s', digits: 2, of: (row) => middle(row, cpuOf) },
    { name: 'memory, MiB', digits: 0, of: (row) => worstRss(row) / 2 ** 20 },
    {
      name: 'pushed, % of source',
      digits: 1,
      of: (row) => (row.what === baseline ? 100 : ((row.pushed ?? Number.NaN) / source) * 100),
    },
  ];
}

/** Colours of both themes: a picture in a page takes none from the page. */
const STYLE = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: bold; font-size: 14px; }
.page { fill: #ffffff; }
.bar { fill: #0969da; }
.base { fill: #6e7781; }
.mark { stroke: #6e7781; stroke-dasharray: 2 3; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.page { fill: #0d1117; }
.bar { fill: #4493f8; }
.base { fill: #848d97; }
.mark { stroke: #848d97; }
}
</style>`;

/** A head, a bar and a figure for each row, and a line where the baseline ends. */
function drawPanel({ name, digits, of }: Panel, x: number, rows: readonly Row[], baseline: string): string[] {
  const values = rows.map(of);
  const most = Math.max(...values.filter(Number.isFinite));
  const length = (value: number) => ((value / most) * LONGEST_BAR).toFixed(1);
  const base = rows.findIndex(({ what }) => what === baseline);
  const bars = values.flatMap((value, index) => {
    if (!Number.isFinite(value)) return [text(x, baselineOf(index), 'n/a')];
    const look = index === base ? 'base' : 'bar';
    return [
      `<rect class="${look}" x="${x}" y="${HEAD + index * ROW + (ROW - BAR) / 2}" width="${length(value)}" height="${BAR}"/>`,
      text(x + Number(length(value)) + 5, baselineOf(index), figure(value, digits)),
    ];
  });
  const mark = values[base];
  if (mark === undefined || !Number.isFinite(mark)) return [text(x, HEAD - 8, name), ...bars];
  const end = (x + Number(length(mark))).toFixed(1);
  const line = `<line class="mark" x1="${end}" y1="${HEAD}" x2="${end}" y2="${HEAD + rows.length * ROW}"/>`;
  return [text(x, HEAD - 8, name), line, ...bars];
}

/** All figures in words, for those who do not see the bars. */
function description(rows: readonly Row[], panels: readonly Panel[]): string {
  return rows
    .map(
      (row) => `${row.what}: ${panels.map(({ name, digits, of }) => `${name} ${figure(of(row), digits)}`).join('; ')}.`,
    )
    .join(' ');
}

/** The line that the letters of a row are written on. */
function baselineOf(index: number): number {
  return HEAD + index * ROW + ROW / 2 + 4;
}

function text(x: number, y: number, content: string, look?: string): string {
  const attribute = look === undefined ? '' : ` class="${look}"`;
  return `<text${attribute} x="${Number(x.toFixed(1))}" y="${y}">${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
