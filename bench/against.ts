/** Measures the conversions of two commits in turns: `npm run bench -- --against REF`. */
import { BASELINE, type Candidate, convertOnce, gigabytes, gunzip, takeTurns } from './convert.ts';
import { readImage, readThrough } from './layout.ts';
import type { BenchOptions, Outcome } from './options.ts';
import { buildOther, commitOf, isChanged, type OtherBuild } from './other-build.ts';
import { cpuOf, figure, markdownTable, middle, type Row, wallOf, withSpread, worstRss } from './report.ts';
import { type ImageScenario, MODES } from './scenarios.ts';

const NOW = 'now';

/** Two builds, the older first. */
export interface Builds {
  readonly other: OtherBuild;
  /** The commit that runs now, and whether files differ from it. */
  readonly current: string;
}

/** Builds the commit that `ref` names. */
export async function prepareBuilds(directory: string, ref: string): Promise<Builds> {
  const changed = (await isChanged()) ? ', with changes' : '';
  return { other: await buildOther(directory, ref), current: `${await commitOf('HEAD')}${changed}` };
}

/** A scenario with both builds, which change places every round. */
export async function measureAgainst(
  scenario: ImageScenario,
  { other, current }: Builds,
  options: BenchOptions,
): Promise<Outcome> {
  const layout = await scenario.layout(options);
  if (layout === undefined) return { skipped: `not on this machine: ${scenario.about}` };
  const image = await readImage(layout);
  await readThrough(image.layers);
  const modes = MODES.filter(({ name }) => scenario.modes.includes(name) && options.modes.includes(name));
  const digests = new Map<string, Set<string>>();
  const candidate = (label: string, cli: string | undefined, mode: (typeof MODES)[number]): Candidate => ({
    what: `${mode.name}, ${label}`,
    run: async () => {
      const made = await convertOnce(image, mode, cli);
      digests.set(mode.name, (digests.get(mode.name) ?? new Set()).add(made.digests));
      return made;
    },
  });
  const candidates: Candidate[] = [
    { what: BASELINE, run: () => gunzip(image.layers) },
    ...modes.flatMap((mode) => [candidate(other.commit, other.cli, mode), candidate(NOW, undefined, mode)]),
  ];
  const rows = await takeTurns(scenario.name, candidates, options);
  const text = `## ${scenario.title}: ${current} against ${other.commit}

${table(rows)}

The image: ${scenario.about}.
${gigabytes(image.compressed)} GB compressed. Medians of ${options.rounds} rounds, in turns in one run; "${NOW}" is ${current}.

${modes.map(({ name }) => sentence(name, rows, other, digests.get(name)!)).join('\n')}`;
  return { text, verdicts: [], rows };
}

function table(rows: readonly Row[]): string {
  const base = rows.find(({ what }) => what === BASELINE)!;
  const lines = rows.map((row) => [
    row.what,
    withSpread(row, wallOf),
    figure(middle(row, wallOf) / middle(base, wallOf), 2),
    withSpread(row, cpuOf),
    figure(middle(row, cpuOf) / middle(base, cpuOf), 2),
    figure(worstRss(row) / 2 ** 20, 0),
    row.pushed === undefined ? '' : figure(row.pushed / 1e6, 1),
  ]);
  return markdownTable(['what', 'wall s', '×', 'CPU s', '×', 'peak RSS MiB', 'pushed MB'], lines);
}

function sentence(mode: string, rows: readonly Row[], other: OtherBuild, digests: ReadonlySet<string>): string {
  const [before, after] = [other.commit, NOW].map((label) => rows.find(({ what }) => what === `${mode}, ${label}`)!);
  const share = (of: (row: Row) => number) => figure(of(after!) / of(before!), 2);
  const wall = share((row) => middle(row, wallOf));
  const cpu = share((row) => middle(row, cpuOf));
  const same = digests.size === 1 ? 'the same digests' : '**other digests**';
  return `* ${mode}: ${wall} of the wall time, ${cpu} of the CPU time, ${share(worstRss)} of the memory; ${same}.`;
}
