/** Measures the reference tools and other converters beside accel on the same image, those that are installed. */
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { startRegistry } from '../tests/support/registry.ts';
import { measureCommand, together, type Usage } from './child.ts';
import { BASELINE, type Candidate, convertOnce, gunzip, takeTurns } from './convert.ts';
import { type BenchImage, readImage, tarSize } from './layout.ts';
import { ZSTD_BLOCK, ZSTD_MODE } from './limits.ts';
import { FOLDER_PREFIX, makeImage } from './make-image.ts';
import { oneLayer } from './make-layer.ts';
import type { BenchOptions, Outcome } from './options.ts';
import {
  fullSteps,
  indexSteps,
  type LayerSteps,
  type LayerWork,
  type Lower,
  missingReferenceTools,
} from './reference-steps.ts';
import { formatTable, type Row } from './report.ts';
import { MODES } from './scenarios.ts';
import { canMeasureWhole, missingForWhole, wholeCandidates } from './whole-convert.ts';

/** The reference's way to do what a mode of accel does. */
interface ReferenceMode {
  /** Name of the mode in scenarios.ts. */
  readonly mode: string;
  layer(work: LayerWork): Promise<LayerSteps>;
}

const REFERENCE_MODES: readonly ReferenceMode[] = [
  { mode: 'full', layer: (work) => fullSteps(work, []) },
  // Its commit with several threads was seen to hang with zstd, so it runs with one, as by default.
  { mode: ZSTD_MODE, layer: (work) => fullSteps(work, ['--algorithm', 'zstd', '--bs', ZSTD_BLOCK]) },
  { mode: 'index-only', layer: indexSteps },
];

/** The section of the page. */
export async function measureReference(options: BenchOptions): Promise<Outcome> {
  const missingSteps = missingReferenceTools();
  const missing = [...missingSteps, ...missingForWhole()];
  if (missingSteps.length > 0 && !canMeasureWhole()) return { skipped: `not installed: ${missing.join(', ')}` };
  const image = await readImage(await makeImage(options.directory, oneLayer(options.scale)));
  const steps = new Map<string, Usage[]>();
  const registry = canMeasureWhole() ? await startRegistry() : undefined;
  try {
    const modes = missingSteps.length > 0 ? [] : REFERENCE_MODES.filter(({ mode }) => options.modes.includes(mode));
    const byStep: Candidate[] = modes.flatMap((reference) => [
      {
        what: `accel ${reference.mode}`,
        run: () => convertOnce(image, MODES.find(({ name }) => name === reference.mode)!),
      },
      { what: referenceRow(reference), run: () => convertByReference(image, reference, options.directory, steps) },
    ]);
    const { directory } = options;
    const whole = registry === undefined ? [] : wholeCandidates({ image, host: registry.host, directory }, options);
    const candidates = [{ what: BASELINE, run: () => gunzip(image.layers) }, ...byStep, ...whole];
    const rows = await takeTurns('reference', candidates, options);
    const context = { baseline: BASELINE, source: image.compressed, tar: await tarSize(image.layout) };
    const tableOf = (own: readonly Candidate[]) =>
      own.length === 0
        ? undefined
        : formatTable(
            withSteps(
              rows.filter(({ what }) => isOneOf(what, own)),
              steps,
            ),
            context,
          );
    const text = section(tableOf(byStep), tableOf(whole), { rows, missing, rounds: options.rounds });
    return { text, verdicts: [], rows };
  } finally {
    await registry?.stop();
  }
}

function isOneOf(name: string, candidates: readonly Candidate[]): boolean {
  return name === BASELINE || candidates.some(({ what }) => what === name);
}

/** The section's text, with what each table is missing. */
function section(
  steps: string | undefined,
  whole: string | undefined,
  {
    rows,
    missing,
    rounds,
  }: { readonly rows: readonly Row[]; readonly missing: readonly string[]; readonly rounds: number },
): string {
  const failures = rows.flatMap(({ what, failed }) =>
    failed === undefined ? [] : [`* ${what}: ${firstLine(failed)}`],
  );
  return [
    '## The reference tools',
    `The image is the one layer of 1.1 GB. Medians of ${rounds} rounds; all rows of both tables take turns.`,
    ...(steps === undefined
      ? []
      : [
          steps,
          `overlaybd's own tools convert it with the calls that its userspace convertor makes,
one after another; the rows below each are its steps. They write to the same disk; neither uploads.`,
        ]),
    ...(whole === undefined
      ? []
      : [
          whole,
          `Whole converters, from docker-registry on loopback and back to it, each time in a repository of its own. Memory is that of
the program itself, without those that it starts; processor time and writes of the registry are not counted. Pushed is
the blobs that the new tags name and the source does not.`,
        ]),
    ...(failures.length === 0 ? [] : [`Failed:\n\n${failures.join('\n')}`]),
    ...(missing.length === 0 ? [] : [`Not found on this machine: ${missing.join(', ')}.`]),
  ].join('\n\n');
}

function firstLine(message: string): string {
  return message.trim().split('\n').slice(0, 2).join(': ');
}

function referenceRow({ mode }: ReferenceMode): string {
  return `reference ${mode}`;
}

/** Converts all layers in a throw-away folder and notes what each kind of step used. */
async function convertByReference(
  image: BenchImage,
  reference: ReferenceMode,
  directory: string,
  steps: Map<string, Usage[]>,
): Promise<{ usage: Usage; pushed: number }> {
  const folder = await mkdtemp(join(directory, `${FOLDER_PREFIX}reference-`));
  try {
    const used = new Map<string, Usage[]>();
    const lowers: Lower[] = [];
    let pushed = 0;
    for (const [index, blob] of image.layers.entries()) {
      const work = { blob, folder: join(folder, String(index)), lowers };
      await mkdir(work.folder);
      const layer = await reference.layer(work);
      for (const { name, command } of layer.steps) {
        const { usage } = await measureCommand(command);
        used.set(name, [...(used.get(name) ?? []), usage]);
      }
      pushed += (await stat(layer.result)).size;
      lowers.push(layer.lower);
    }
    for (const [name, usages] of used) {
      const key = `${referenceRow(reference)}: ${name}`;
      steps.set(key, [...(steps.get(key) ?? []), together(usages)]);
    }
    return { usage: together([...used.values()].flat()), pushed };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The rows with those of their steps below each. */
function withSteps(rows: readonly Row[], steps: ReadonlyMap<string, Usage[]>): Row[] {
  return rows.flatMap((row) => [
    row,
    ...[...steps]
      .filter(([key]) => key.startsWith(`${row.what}: `))
      .map(([key, rounds]) => ({ what: `– ${key.slice(row.what.length + 2)}`, rounds })),
  ]);
}
