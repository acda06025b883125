/** Measures the reference tools beside accel on the same image, where they are installed. */
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
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
  const missing = missingReferenceTools();
  if (missing.length > 0) return { skipped: `not installed: ${missing.join(', ')}` };
  const image = await readImage(await makeImage(options.directory, oneLayer(options.scale)));
  const steps = new Map<string, Usage[]>();
  const candidates: Candidate[] = [
    { what: BASELINE, run: () => gunzip(image.layers) },
    ...REFERENCE_MODES.filter(({ mode }) => options.modes.includes(mode)).flatMap((reference) => [
      {
        what: `accel ${reference.mode}`,
        run: () => convertOnce(image, MODES.find(({ name }) => name === reference.mode)!),
      },
      { what: referenceRow(reference), run: () => convertByReference(image, reference, options.directory, steps) },
    ]),
  ];
  const rows = await takeTurns('reference', candidates, options);
  const context = { baseline: BASELINE, source: image.compressed, tar: await tarSize(image.layout) };
  const text = `## The reference tools

${formatTable(withSteps(rows, steps), context)}

The image is the one layer of 1.1 GB. overlaybd's own tools convert it with the calls that its userspace convertor makes,
one after another; the rows below each are its steps. They write to the same disk; neither uploads.
Medians of ${options.rounds} rounds.`;
  return { text, verdicts: [], rows };
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
