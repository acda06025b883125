/**
 * Measures `accel convert` next to node:zlib decompressing the same layers, in one run, round by round, so that both
 * see the same machine. See README.md beside this file.
 */
import { access, mkdir } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runMeasured } from './child.ts';
import { type BenchImage, bytesAdded, readImage, withCopy } from './layout.ts';
import type { Usage } from './measure.ts';
import { formatTable, type Row } from './report.ts';
import { IMAGES, MODES, type ModeScenario } from './scenarios.ts';
import { writeSection } from './section.ts';

const BASELINE = 'node:zlib gunzip';
const GUNZIP = join(import.meta.dirname, 'gunzip.js');
const CLI = join(import.meta.dirname, '..', 'cli', 'main.js');

const { values } = parseArgs({
  options: {
    image: { type: 'string', multiple: true, default: ['generated'] },
    mode: { type: 'string', multiple: true, default: ['full'] },
    rounds: { type: 'string', default: '3' },
    scale: { type: 'string', default: '1' },
    cache: { type: 'string', default: join(tmpdir(), 'accel-bench') },
    write: { type: 'boolean', default: false },
    'max-ratio': { type: 'string' },
    'max-rss': { type: 'string' },
  },
});

/** The scenarios that were asked for by name, or an error that lists the names there are. */
function pick<T extends { readonly name: string }>(all: readonly T[], names: readonly string[]): T[] {
  return names.map((name) => {
    const found = all.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no ${name}; there are: ${all.map((one) => one.name).join(', ')}`);
    return found;
  });
}

async function convertOnce(image: BenchImage, mode: ModeScenario): Promise<{ usage: Usage; pushed: number }> {
  return withCopy(image.layout, async (copy) => {
    const args = ['convert', '-r', `oci:${copy}`, '-i', 'latest', ...mode.flags, '--json'];
    const { usage } = await runMeasured(CLI, args);
    return { usage, pushed: await bytesAdded(image.layout, copy) };
  });
}

async function measureImage(name: string, image: BenchImage, modes: readonly ModeScenario[]): Promise<Row[]> {
  const baseline: Usage[] = [];
  const conversions = modes.map((mode) => ({ mode, rounds: [] as Usage[], pushed: 0 }));
  const rounds = Number(values.rounds);
  for (let round = 1; round <= rounds; round++) {
    baseline.push((await runMeasured(GUNZIP, image.layers)).usage);
    log(`${name} round ${round}/${rounds}: gunzip ${baseline.at(-1)!.wall.toFixed(2)} s`);
    for (const conversion of conversions) {
      const { usage, pushed } = await convertOnce(image, conversion.mode);
      conversion.rounds.push(usage);
      conversion.pushed = pushed;
      log(`${name} round ${round}/${rounds}: ${conversion.mode.name} ${usage.wall.toFixed(2)} s`);
    }
  }
  const source = image.compressed;
  return [
    { image: name, what: BASELINE, rounds: baseline, source },
    ...conversions.map(({ mode, rounds: all, pushed }) => ({
      image: name,
      what: mode.name,
      rounds: all,
      pushed,
      source,
    })),
  ];
}

function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** The machine, because a figure without one says nothing. */
function machine(): string {
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cpus()[0]?.model ?? 'unknown CPU'}, ${availableParallelism()} cores, ${memory} GiB, Node ${process.version}`;
}

/** The limits of `--max-ratio` (wall time of full conversion over the baseline) and `--max-rss` (MiB) that a row breaks. */
function brokenLimits(rows: readonly Row[]): string[] {
  const broken: string[] = [];
  const wall = (row: Row) => Math.min(...row.rounds.map((usage) => usage.wall));
  for (const row of rows.filter((one) => one.what !== BASELINE)) {
    const base = rows.find((other) => other.image === row.image && other.what === BASELINE)!;
    const ratio = wall(row) / wall(base);
    const rss = Math.max(...row.rounds.map((usage) => usage.peakRss)) / 2 ** 20;
    const label = `${row.image}, ${row.what}`;
    if (ratio > Number(values['max-ratio'] ?? Number.POSITIVE_INFINITY))
      broken.push(`${label}: ${ratio.toFixed(2)}× the baseline`);
    if (rss > Number(values['max-rss'] ?? Number.POSITIVE_INFINITY))
      broken.push(`${label}: peak RSS ${rss.toFixed(0)} MiB`);
  }
  return broken;
}

async function main(): Promise<void> {
  const modes = pick(MODES, values.mode);
  await access(CLI);
  await mkdir(values.cache, { recursive: true });
  const rows: Row[] = [];
  const abouts: string[] = [];
  for (const scenario of pick(IMAGES, values.image)) {
    const layout = await scenario.layout({ cache: values.cache, scale: Number(values.scale) });
    if (layout === undefined) throw new Error(`the image ${scenario.name} is not on this machine: ${scenario.about}`);
    rows.push(...(await measureImage(scenario.name, await readImage(layout), modes)));
    abouts.push(`* ${scenario.name}: ${scenario.about}`);
  }
  const table = formatTable(rows, BASELINE);
  process.stdout.write(`${machine()}\n\n${table}\n`);
  if (values.write) await writeSection('convert', document(table, abouts));
  const broken = brokenLimits(rows);
  if (broken.length > 0) throw new Error(`over the limit: ${broken.join('; ')}`);
}

function document(table: string, abouts: readonly string[]): string {
  return `## Conversion

Each row is the median of ${values.rounds} rounds (least–most in brackets), each in a process of its own that starts
cold; the rounds of all rows of an image take turns. × is the ratio to the baseline, which only decompresses the same
layers. Peak RSS is that of the worst round. Source and result are OCI layouts on the same disk.

${table}

${abouts.join('\n')}

Machine: ${machine()}.
`;
}

await main();
