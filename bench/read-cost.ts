/** Measures what reads of a converted image cost in processor time with accel's own reader, for each way to store blocks. */
import { openTarget } from '../oci/open.ts';
import { openImage } from '../reader/accelerated-image.ts';
import { runMeasured } from './child.ts';
import { CLI } from './convert.ts';
import { measureReads, type ReadCost } from './device-reads.ts';
import { keepFirstLayers } from './first-layers.ts';
import { bytesAdded, readImage, withCopy } from './layout.ts';
import type { BenchOptions, Outcome } from './options.ts';
import { figure, markdownTable, median } from './report.ts';
import { FORMAT_MODES, IMAGES, type Making, MODES, type ModeScenario } from './scenarios.ts';

/** The default, index-only, and the other ways to store blocks. */
const READ_MODES: readonly ModeScenario[] = [
  ...MODES.filter(({ name }) => name === 'full' || name === 'index-only'),
  ...FORMAT_MODES.filter(({ name }) => name !== 'full, zstd 32 KiB, level 1'),
];
/** Layers of Debian that are read, which the tables of a start have as well. */
const FIRST_LAYERS = 3;

interface ReadImage {
  readonly layout: string;
  readonly about: string;
  /** Lowest layers to take; all unless given. */
  readonly layers?: number;
}

/** A converted image, and what reading it cost in each round. */
interface Candidate {
  readonly name: string;
  readonly tag: string;
  /** Bytes that the conversion added, as a share of the source. */
  readonly share: number;
  readonly costs: ReadCost[];
}

/** The section of the page. */
export async function measureReadCost(options: BenchOptions): Promise<Outcome> {
  const { layout, about, layers } = await imageToRead(options);
  return withCopy((await readImage(layout)).layout, async (copy) => {
    if (layers !== undefined) await keepFirstLayers(copy, layers);
    const { compressed } = await readImage(copy);
    const candidates: Candidate[] = [];
    for (const mode of READ_MODES.filter(({ name }) => options.modes.includes(name)))
      candidates.push(await convert(copy, mode, compressed));
    for (let round = 1; round <= options.rounds; round++) {
      for (const { name, tag, costs } of candidates) {
        const cost = await measureTag(copy, tag);
        costs.push(cost);
        options.log(`read-cost: round ${round}, ${name}: ${figure(cost.rate / 1e6, 0)} MB a CPU second`);
      }
    }
    return { text: section(candidates, about, options.rounds), verdicts: [] };
  });
}

/** Debian's lowest layers; the one generated layer in a trial, and where Debian is not on this machine. */
async function imageToRead(making: Making): Promise<ReadImage> {
  const named = (wanted: string) => IMAGES.find(({ name }) => name === wanted)!;
  const debian = making.scale === 1 ? await named('debian').layout(making) : undefined;
  if (debian !== undefined)
    return { layout: debian, about: `The first ${FIRST_LAYERS} layers of Debian`, layers: FIRST_LAYERS };
  return { layout: (await named('one-layer').layout(making))!, about: 'The one layer of the first table' };
}

async function convert(copy: string, { name, flags }: ModeScenario, compressed: number): Promise<Candidate> {
  const added = await withCopy(copy, async (before) => {
    await runMeasured(CLI, ['convert', '-r', `oci:${copy}`, '-i', 'latest', ...flags, '--no-cache', '--json']);
    return bytesAdded(before, copy);
  });
  return { name, tag: flags[flags.indexOf('-o') + 1]!, share: added / compressed, costs: [] };
}

async function measureTag(layout: string, tag: string): Promise<ReadCost> {
  const target = await openTarget({ kind: 'layout', directory: layout });
  try {
    return await measureReads((await openImage(target, tag)).device);
  } finally {
    await target.close?.();
  }
}

function section(candidates: readonly Candidate[], about: string, rounds: number): string {
  const lines = candidates.map(({ name, share, costs }) => [
    name,
    withRange(costs.map(({ rate }) => rate / 1e6)),
    withRange(costs.map(({ small }) => small * 1e6)),
    withRange(costs.map(({ large }) => large * 1e6)),
    figure(share * 100, 1),
  ]);
  const head = ['mode', 'MB a CPU second, in order', 'µs for 4 KiB', 'µs for 128 KiB', '% of source'];
  return `## What a read costs

${markdownTable(head, lines)}

${about}, opened in an OCI layout whose files are in memory, and read by accel's reader, with all checksums, in one process:
128 MiB of the device's data in order and in reads of 128 KiB, 1,000 reads of 4 KiB and 300 of 128 KiB at random places of the data, the
same for each row; the first of each kind do not count. Processor time is user and system time of the process, with opening and reading the files. 64 MiB of
decompressed blocks are kept, as always. Medians of ${rounds} rounds that
take turns, with the least and the most in brackets.`;
}

function withRange(values: readonly number[]): string {
  return `${figure(median(values), 0)} (${figure(Math.min(...values), 0)}–${figure(Math.max(...values), 0)})`;
}
