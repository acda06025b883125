/** Measures whether the time per gigabyte and the memory stay what they are when images grow. */
import { BASELINE, type Candidate, convertOnce, gunzip, takeTurns } from './convert.ts';
import { readImage, readThrough, tarSize } from './layout.ts';
import { formatVerdicts, judgeResources, type Verdict, verdict } from './limits.ts';
import { makeImage } from './make-image.ts';
import type { BenchOptions, Outcome } from './options.ts';
import { cpuOf, figure, markdownTable, middle, type Row, wallOf, withSpread, worstRss } from './report.ts';
import { type GrowthPoint, MODES } from './scenarios.ts';

/** The modes to measure: both tags in one run would show nothing that the two do not. */
const GROWTH_MODES = ['full', 'index-only'];

/** Time per gigabyte of the largest image over that of the smallest. */
const MAX_GROWTH = 1.1;

/** An image of the series with its measurements. */
interface MeasuredPoint {
  readonly label: string;
  readonly tar: number;
  readonly rows: readonly Row[];
}

/** A series as a section of the page. */
export async function measureGrowth(
  name: string,
  title: string,
  points: readonly GrowthPoint[],
  options: BenchOptions,
): Promise<Outcome> {
  const images = [];
  for (const { label, recipe } of points) {
    const image = await readImage(await makeImage(options.directory, recipe(options.scale)));
    await readThrough(image.layers);
    images.push({ label, image, tar: await tarSize(image.layout) });
    options.log(`${name}: ${label} in ${image.layout}`);
  }
  const modes = MODES.filter((mode) => GROWTH_MODES.includes(mode.name) && options.modes.includes(mode.name));
  // All points take their turns in one round, so that a slow minute does not hit one of them alone.
  const candidates: Candidate[] = images.flatMap(({ label, image }) => [
    { what: keyOf(label, BASELINE), run: () => gunzip(image.layers) },
    ...modes.map((mode) => ({ what: keyOf(label, mode.name), run: () => convertOnce(image, mode) })),
  ]);
  const rows = await takeTurns(name, candidates, options);
  const measured = images.map(({ label, tar }) => ({
    label,
    tar,
    rows: rows
      .filter((row) => row.what.startsWith(keyOf(label, '')))
      .map((row) => ({ ...row, what: row.what.slice(keyOf(label, '').length) })),
  }));
  const names = modes.map((mode) => mode.name);
  const verdicts = [
    ...names.map((mode) => judgeGrowth(mode, measured)),
    ...judgeResources(measured.flatMap((point) => point.rows)),
  ].filter((one) => one !== undefined);
  const text = `## ${title}

${formatPoints(measured)}

Layers with the mix of files of the one layer of 1.1 GB, gzip -1. Medians of ${options.rounds} rounds.

${names.map((mode) => sentence(mode, measured)).join('\n')}

${formatVerdicts(verdicts)}`;
  return { text, verdicts, rows };
}

function keyOf(label: string, what: string): string {
  return `${label}: ${what}`;
}

function formatPoints(points: readonly MeasuredPoint[]): string {
  const head = ['image', 'what', 'tar GB', 'wall s', '×', 's per GB', 'CPU s per GB', 'peak RSS MiB', 'pushed MB'];
  const lines = points.flatMap(({ label, tar, rows }) => {
    const base = rows.find((row) => row.what === BASELINE)!;
    return rows.map((row) => [
      label,
      row.what,
      figure(tar / 1e9, 2),
      withSpread(row, wallOf),
      figure(middle(row, wallOf) / middle(base, wallOf), 2),
      figure(perGigabyte(row, tar, wallOf), 2),
      figure(perGigabyte(row, tar, cpuOf), 2),
      figure(worstRss(row) / 2 ** 20, 0),
      row.pushed === undefined ? '' : figure(row.pushed / 1e6, 1),
    ]);
  });
  return markdownTable(head, lines, 2);
}

function perGigabyte(row: Row, tar: number, pick: typeof wallOf): number {
  return middle(row, pick) / (tar / 1e9);
}

function rowsOf(mode: string, points: readonly MeasuredPoint[]) {
  return points.map(({ label, tar, rows }) => {
    const row = rows.find((one) => one.what === mode)!;
    return { label, row, time: perGigabyte(row, tar, wallOf), rss: worstRss(row) / 2 ** 20 };
  });
}

function sentence(mode: string, points: readonly MeasuredPoint[]): string {
  const rows = rowsOf(mode, points);
  const times = rows.map(({ time }) => figure(time, 2)).join(', ');
  const memory = rows.map(({ rss }) => figure(rss, 0)).join(', ');
  const labels = rows.map(({ label }) => label).join(', ');
  return `* ${mode}, ${labels}: ${times} s per GB, peak RSS ${memory} MiB.`;
}

function judgeGrowth(mode: string, points: readonly MeasuredPoint[]): Verdict | undefined {
  const rows = rowsOf(mode, points);
  const [first, last] = [rows[0]!, rows.at(-1)!];
  return verdict(`${mode}, time per GB of ${last.label} over ${first.label}`, last.time / first.time, MAX_GROWTH);
}
