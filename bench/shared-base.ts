/**
 * Measures the conversion of a second image on the same base: bytes fetched from a registry and wall time, next to those
 * of the first image and of the same image from scratch. See README.md beside this file.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildLayout, type LayerSpec } from '../fixtures/image-builder.ts';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { startRegistry } from '../tests/support/registry.ts';
import { run } from '../tests/support/tools.ts';
import { runMeasured } from './child.ts';
import { type ContentKind, fill, Random } from './content.ts';
import { type CountingProxy, startCountingProxy } from './counting-proxy.ts';
import { median } from './report.ts';
import { writeSection } from './section.ts';

const CLI = join(import.meta.dirname, '..', 'program', 'main.js');
/** Layers of an image; all but the last one are shared. */
const LAYERS = 5;
/** Files of a layer, by what they hold. */
const KINDS: readonly ContentKind[] = ['text', 'binary', 'noise'];
/** Bytes that the second conversion may fetch, as a share of the first one's (`--check`). */
const MOST_FETCHED = 0.25;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    size: { type: 'string', default: '100' },
    top: { type: 'string', multiple: true },
    write: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
});

/** Megabytes of a shared layer, and of the layers on top that are measured: one as large, one as small as applications are. */
const SIZE = Number(values.size);
const TOPS = values.top?.map(Number) ?? [SIZE, SIZE / 10];

/** One conversion. */
interface Conversion {
  /** Seconds, from the start of the process to its end. */
  readonly wall: number;
  readonly cpu: number;
  /** Bytes of the registry's answers. */
  readonly fetched: number;
  readonly digests: string;
}

/** A row of the table: the same conversion in every round. */
interface Row {
  readonly what: string;
  /** Megabytes of the layer that is not shared. */
  readonly top: number;
  readonly rounds: Conversion[];
}

/** A layer of about `size` bytes in a hundred files. */
function layer(seed: number, size: number): LayerSpec {
  const random = new Random(seed);
  const tar = new TarBuilder();
  for (let file = 0; file < 100; file++) {
    const bytes = new Uint8Array(size / 100);
    const kind = KINDS[file % KINDS.length]!;
    fill(bytes, kind, random);
    tar.file(`opt/layer-${seed}/${kind}-${file}`, bytes);
  }
  return { tar: tar.build() };
}

async function convertOnce(proxy: CountingProxy, repository: string, tag: string, flags: readonly string[]) {
  proxy.reset();
  const args = ['convert', '-r', `${proxy.host}/${repository}`, '-i', tag, '--plain', '--json', ...flags];
  const { usage, stdout } = await runMeasured(CLI, args);
  const { tags } = JSON.parse(stdout) as { tags: readonly { digest: string }[] };
  const digests = tags.map(({ digest }) => digest).join(' ');
  return { wall: usage.wall, cpu: usage.cpu, fetched: proxy.count().bytes, digests };
}

function formatRows(rows: readonly Row[]): string {
  const head = ['what', 'top layer MB', 'wall s', '×', 'CPU s', '×', 'fetched MB', '%'];
  const middle = ({ rounds }: Row, of: 'wall' | 'cpu' | 'fetched') => median(rounds.map((one) => one[of]));
  const lines = rows.map((row) => {
    const first = rows.find(({ top }) => top === row.top)!;
    return [
      row.what,
      String(row.top),
      middle(row, 'wall').toFixed(2),
      (middle(row, 'wall') / middle(first, 'wall')).toFixed(2),
      middle(row, 'cpu').toFixed(2),
      (middle(row, 'cpu') / middle(first, 'cpu')).toFixed(2),
      (middle(row, 'fetched') / 1e6).toFixed(1),
      ((middle(row, 'fetched') / middle(first, 'fetched')) * 100).toFixed(1),
    ];
  });
  return [head, head.map((_, column) => (column === 0 ? '---' : '---:')), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function section(table: string): string {
  return `## A second image on the same base

${table}

Two images of ${LAYERS} layers, of which the lower ${LAYERS - 1}, of ${values.size} MB each, are the same, are converted one after the other
in one repository of a registry on the same machine, both tags each; then the second one again in another repository,
from scratch (\`--no-cache\`). The digests of the two conversions of the second image are the same. Fetched is what the
registry sent, as an HTTP proxy between the two counted it; × and % are shares of the first conversion. Medians of
${values.rounds} rounds, every conversion in a process of its own.`;
}

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'accel-bench-'));
  const registry = await startRegistry();
  const proxy = await startCountingProxy(registry.host);
  const rows: Row[] = [];
  try {
    const base = Array.from({ length: LAYERS - 1 }, (_, seed) => layer(seed + 1, SIZE * 1e6));
    for (const top of TOPS) {
      await buildLayout(directory, `first-${top}`, [...base, layer(LAYERS, top * 1e6)]);
      await buildLayout(directory, `second-${top}`, [...base, layer(LAYERS + 1, top * 1e6)]);
      rows.push(...(await measure(directory, registry.host, proxy, top)));
    }
  } finally {
    await proxy.stop();
    await registry.stop();
    await rm(directory, { recursive: true, force: true });
  }
  const table = formatRows(rows);
  process.stdout.write(`${table}\n`);
  if (values.write) await writeSection('shared-base', section(table));
}

/** The images with one size of their top layer. */
async function measure(layout: string, registry: string, proxy: CountingProxy, top: number): Promise<Row[]> {
  const row = (what: string): Row => ({ what, top, rounds: [] });
  const rows = [row('first image'), row('second image'), row('second image from scratch')] as const;
  for (let round = 1; round <= Number(values.rounds); round++) {
    const [cached, scratch] = [`cached-${top}-${round}`, `scratch-${top}-${round}`];
    for (const [repository, tag] of [
      [cached, `first-${top}`],
      [cached, `second-${top}`],
      [scratch, `second-${top}`],
    ]) {
      const target = `docker://${registry}/${repository}:${tag}`;
      await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${layout}:${tag}`, target]);
    }
    const first = await convertOnce(proxy, cached, `first-${top}`, []);
    const second = await convertOnce(proxy, cached, `second-${top}`, []);
    const anew = await convertOnce(proxy, scratch, `second-${top}`, ['--no-cache']);
    const walls = [first, second, anew].map((one) => one.wall.toFixed(2)).join(', ');
    process.stderr.write(`top layer of ${top} MB, round ${round}: ${walls} s\n`);
    if (second.digests !== anew.digests) throw new Error(`other digests: ${second.digests}, ${anew.digests}`);
    const share = second.fetched / first.fetched;
    if (values.check && share > MOST_FETCHED) throw new Error(`over the bar: ${share.toFixed(3)} of the bytes fetched`);
    for (const [index, conversion] of [first, second, anew].entries()) rows[index]!.rounds.push(conversion);
  }
  return [...rows];
}

await main();
