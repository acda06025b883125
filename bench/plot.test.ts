import { expect, test } from 'vitest';
import { LONGEST_BAR, plot } from './plot.ts';

const usage = (wall: number, cpu: number, mebibytes: number) => ({
  wall,
  cpu,
  peakRss: mebibytes * 2 ** 20,
  written: 0,
});
const ROWS = [
  { what: 'gunzip', rounds: [usage(1, 1.5, 50), usage(2, 1, 80), usage(9, 2, 60)] },
  { what: 'igzip -dc', rounds: [] },
  { what: 'lz4 of the tar', rounds: [usage(7, 7, 2)] },
  { what: 'full', rounds: [usage(4, 6, 200)], pushed: 30_000_000 },
  { what: 'index <only> & more', rounds: [usage(1, 3, Number.NaN)], pushed: 200_000 },
];
const CONTEXT = { baseline: 'gunzip', source: 20_000_000, tar: 44_000_000 };

/** Lengths of the bars by panel and row, and the figures beside them. */
function read(svg: string) {
  const bars = [...svg.matchAll(/<rect class="(?:bar|base)" x="(\d+)" y="(\d+)" width="([\d.]+)"/g)].map(
    ([, x, y, width]) => ({ x: Number(x), y: Number(y), width: Number(width) }),
  );
  const texts = [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, content]) => content);
  const panels = [...new Set(bars.map(({ x }) => x))].map((x) => bars.filter((bar) => bar.x === x));
  return { panels, texts };
}

test('bars are as long as their figures: medians, the worst memory, bytes beside the source', () => {
  const { panels, texts } = read(plot('An image', ROWS, CONTEXT));
  const shares = [
    [2 / 4, 1, 1 / 4], // Seconds: 2, 4, 1.
    [1.5 / 6, 1, 3 / 6],
    [80 / 200, 1], // Nobody saw the memory of the last row.
    [100 / 150, 1, 1 / 150],
  ];
  expect(panels.map((bars) => bars.map(({ width }) => width))).toEqual(
    shares.map((panel) => panel.map((share) => Number((share * LONGEST_BAR).toFixed(1)))),
  );
  expect(texts.slice(0, 4)).toEqual(['An image', 'gunzip', 'full', 'index &lt;only&gt; &amp; more']);
  expect(texts.slice(4)).toEqual([
    ...['time, s', '2.00', '4.00', '1.00', 'CPU, s', '1.50', '6.00', '3.00'],
    ...['memory, MiB', '80', '200', 'n/a', 'pushed, % of source', '100.0', '150.0', '1.0'],
  ]);
});

test('each row has its own line, and a mark goes down where the baseline ends', () => {
  const svg = plot('An image', ROWS, CONTEXT);
  const [time] = read(svg).panels;
  expect(new Set(time!.map(({ y }) => y)).size).toBe(3);
  const marks = [...svg.matchAll(/<line class="mark" x1="([\d.]+)"/g)].map(([, x]) => Number(x));
  expect(marks[0]).toBe(time![0]!.x + time![0]!.width);
  expect(marks.length).toBe(4);
});

test('a picture says all in words, has colours for both themes, and is the same text again', () => {
  const svg = plot('An image', ROWS, CONTEXT);
  expect(svg).toMatch(/^<svg [^>]*role="img" aria-labelledby="title desc">\n<title id="title">An image<\/title>/);
  expect(svg).toContain(
    '<desc id="desc">gunzip: time, s 2.00; CPU, s 1.50; memory, MiB 80; pushed, % of source 100.0. full: time, s 4.00;',
  );
  expect(svg).toContain('prefers-color-scheme: dark');
  expect(svg.length).toBeLessThan(6000);
  expect(plot('An image', ROWS, CONTEXT)).toBe(svg);
});
