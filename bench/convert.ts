/**
 * Measures `accel convert` of one image next to node:zlib decompressing the same layers, and next to the programs of
 * tools.ts, round by round, so that all see the same machine.
 */
import { join } from 'node:path';
import { runMeasured, type Usage } from './child.ts';
import { type BenchImage, bytesAdded, readImage, withCopy, withTars } from './layout.ts';
import { formatVerdicts, judge } from './limits.ts';
import type { BenchOptions, Outcome } from './options.ts';
import { plot } from './plot.ts';
import { formatTable, type Row, type TableContext } from './report.ts';
import { type ImageScenario, MODES, type ModeScenario } from './scenarios.ts';
import { writePicture } from './section.ts';
import { runTool, TOOLS } from './tools.ts';

/** The row that only decompresses. */
export const BASELINE = 'node:zlib gunzip';

const GUNZIP = join(import.meta.dirname, 'gunzip.js');

/** The built command line. */
export const CLI: string = join(import.meta.dirname, '..', 'program', 'main.js');

/** One way to spend a round. */
export interface Candidate {
  readonly what: string;
  /** Undefined when it cannot run on this machine; the message of a foreign program that failed. */
  run(): Promise<{ readonly usage: Usage; readonly pushed?: number } | { readonly failed: string } | undefined>;
}

/** Decompresses layers one after another in one thread of a Node process. */
export async function gunzip(layers: readonly string[]): Promise<{ usage: Usage }> {
  const { usage } = await runMeasured(GUNZIP, layers);
  return { usage };
}

/** A conversion: what it used, what it pushed, and the digests of its tags. */
export interface Converted {
  readonly usage: Usage;
  readonly pushed: number;
  readonly digests: string;
}

/** Converts in a throw-away copy of the layout, by the command line at `cli`. */
export function convertOnce(image: BenchImage, mode: ModeScenario, cli: string = CLI): Promise<Converted> {
  return withCopy(image.layout, async (copy) => {
    const args = ['convert', '-r', `oci:${copy}`, '-i', 'latest', ...mode.flags, '--json'];
    const { usage, stdout } = await runMeasured(cli, args);
    const { tags } = JSON.parse(stdout) as { tags: readonly { digest: string }[] };
    const digests = tags.map(({ digest }) => digest).join(' ');
    return { usage, pushed: await bytesAdded(image.layout, copy), digests };
  });
}

/** Every candidate once a round, in turns; a row each. One that failed is not run again. */
export async function takeTurns(
  name: string,
  candidates: readonly Candidate[],
  { rounds, log }: Pick<BenchOptions, 'rounds' | 'log'>,
): Promise<Row[]> {
  const taken = new Map<string, Row>(candidates.map(({ what }) => [what, { what, rounds: [] }]));
  for (let round = 1; round <= rounds; round++) {
    for (const { what, run } of candidates) {
      const row = taken.get(what)!;
      if (row.failed !== undefined) continue;
      const done = await run();
      const say = (outcome: string) => log(`${name} ${round}/${rounds}: ${what} ${outcome}`);
      if (done === undefined) say('not installed');
      else if ('failed' in done) {
        say(`failed: ${done.failed.trim()}`);
        taken.set(what, { what, rounds: [], failed: done.failed });
      } else {
        say(seconds(done.usage));
        const pushed = done.pushed === undefined ? {} : { pushed: done.pushed };
        taken.set(what, { what, rounds: [...row.rounds, done.usage], ...pushed });
      }
    }
  }
  return [...taken.values()];
}

/** A scenario as a section of the page. */
export async function measureConversion(scenario: ImageScenario, options: BenchOptions): Promise<Outcome> {
  const layout = await scenario.layout(options);
  if (layout === undefined) return { skipped: `not on this machine: ${scenario.about}` };
  const image = await readImage(layout);
  const twin = scenario.gzipTwin === undefined ? image : await readImage(await scenario.gzipTwin(options));
  // Making the tars reads the layers, so that they are in memory before the first round.
  return withTars(options.directory, twin.layers, async (tars) => {
    options.log(
      `${scenario.name}: ${gigabytes(image.compressed)} GB of layers in ${layout}, tars of ${gigabytes(tars.size)} GB`,
    );
    const inputs = { gzip: twin.layers, zstd: twin === image ? [] : image.layers, tar: tars.files };
    const candidates: Candidate[] = [
      { what: BASELINE, run: () => gunzip(twin.layers) },
      ...TOOLS.filter(({ input }) => inputs[input].length > 0).map((tool) => ({
        what: tool.name,
        run: async () => {
          const usage = await runTool(tool, inputs[tool.input]);
          return usage === undefined ? undefined : { usage };
        },
      })),
      ...MODES.filter(({ name }) => scenario.modes.includes(name) && options.modes.includes(name)).map((mode) => ({
        what: mode.name,
        run: () => convertOnce(image, mode),
      })),
    ];
    const rows = await takeTurns(scenario.name, candidates, options);
    const context = { baseline: BASELINE, source: image.compressed, tar: tars.size };
    const verdicts = judge(rows, context, scenario.limits);
    const table = formatTable(rows, context);
    const picture = scenario.hasPlot === true && options.write ? await picturesOf(scenario, rows, context) : '';
    const text = `## ${scenario.title}

${table}
${picture}
The image: ${scenario.about}.
${gigabytes(tars.size)} GB of tar, ${gigabytes(image.compressed)} GB compressed. Medians of ${options.rounds} rounds.

${formatVerdicts(verdicts)}`;
    return { text, verdicts, rows };
  });
}

/** Draws the rows beside the page; a paragraph that shows the picture. */
async function picturesOf(
  { name, title }: ImageScenario,
  rows: readonly Row[],
  context: TableContext,
): Promise<string> {
  const path = await writePicture(`bench-${name}`, plot(title, rows, context));
  return `\n![${title}: time, processor time, memory and pushed bytes of each mode beside node:zlib, as bars](${path})\n`;
}

/** Bytes as GB with two digits. */
export function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(2);
}

function seconds(usage: Usage): string {
  return `${usage.wall.toFixed(2)} s`;
}
