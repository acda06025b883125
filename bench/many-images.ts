/**
 * Measures many small images by one `accel convert --from` beside a shell loop of single runs, and a second run of each,
 * in which nothing is to be done. See README.md beside this file.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { openRegistry } from '../oci/registry/registry-target.ts';
import { pushImage, type SmallLayer } from '../tests/support/many-images.ts';
import { startRegistry, type TestRegistry } from '../tests/support/registry.ts';
import { measureCommand, type Usage } from './child.ts';
import { fill, Random } from './content.ts';
import { type CountingProxy, startCountingProxy } from './counting-proxy.ts';
import { writeSection } from './section.ts';

const CLI = join(import.meta.dirname, '..', 'program', 'main.js');
/** Times that one run has to be faster than the loop (`--check`). */
const LEAST = 3;

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '100' },
    jobs: { type: 'string', default: '4' },
    write: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
});
const IMAGES = Number(values.images);

/** A row of the table. */
interface Row {
  readonly what: string;
  readonly usage: Usage;
  readonly requests: number;
}

/** A layer of `size` bytes of a program's kind. */
function layer(seed: number, size: number): SmallLayer {
  const bytes = new Uint8Array(size);
  fill(bytes, 'binary', new Random(seed));
  const tar = new TarBuilder().file(`opt/layer-${seed}`, bytes).build();
  return { tar, blob: gzipSync(tar) };
}

async function measured(proxy: CountingProxy, what: string, script: string): Promise<Row> {
  proxy.reset();
  const { usage } = await measureCommand({ program: 'sh', args: ['-ec', script] });
  const row = { what, usage, requests: proxy.count().requests };
  process.stderr.write(`${what}: ${usage.wall.toFixed(1)} s, ${row.requests} requests\n`);
  return row;
}

/** Both ways in repositories of their own: neither finds what the other has converted. */
async function measure(registry: TestRegistry, proxy: CountingProxy, directory: string): Promise<Row[]> {
  const base = [layer(1, 2_000_000), layer(2, 1_000_000)];
  for (const repository of ['loop', 'run']) {
    const target = await openRegistry({ registry: registry.host, repository }, { plain: true });
    for (let image = 0; image < IMAGES; image++) {
      await pushImage(target, `v${image}`, [...base, layer(100 + image, 20_000)]);
    }
    await target.close();
  }
  const list = join(directory, 'images.txt');
  const lines = Array.from({ length: IMAGES }, (_, image) => `${proxy.host}/run:v${image}\n`);
  await writeFile(list, lines.join(''));
  const node = `"${process.execPath}" "${CLI}" convert --plain --quiet`;
  const loop = `i=0; while [ $i -lt ${IMAGES} ]; do ${node} "${proxy.host}/loop:v$i"; i=$((i+1)); done`;
  const run = `${node} --from "${list}" --jobs ${values.jobs}`;
  return [
    await measured(proxy, 'a loop of single runs', loop),
    await measured(proxy, 'one run of the list', run),
    await measured(proxy, 'the loop again, all up to date', loop),
    await measured(proxy, 'the run again, all up to date', run),
  ];
}

function formatRows(rows: readonly Row[]): string {
  const head = ['what', 'wall s', '×', 'CPU s', 'requests', 'requests an image'];
  const lines = rows.map(({ what, usage, requests }, index) => [
    what,
    usage.wall.toFixed(1),
    (rows[index - (index % 2)]!.usage.wall / usage.wall).toFixed(1),
    usage.cpu.toFixed(1),
    String(requests),
    (requests / IMAGES).toFixed(1),
  ]);
  return [head, head.map((_, column) => (column === 0 ? '---' : '---:')), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function section(table: string): string {
  return `## Many small images

${table}

${IMAGES} images of three layers, of which the lower two, of 2 and 1 MB, are the same for all, and the upper one has 20 kB, are
converted in docker-registry 2.8 on the same machine, both tags each: by a shell loop of \`accel convert --quiet REF\`, and
by one \`accel convert --from FILE --jobs ${values.jobs}\`, each in a repository of its own. × is how many times as fast as the loop.
Requests are those that an HTTP proxy between the two counted; the registry asks for no tokens. One round.`;
}

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'accel-bench-'));
  const registry = await startRegistry();
  const proxy = await startCountingProxy(registry.host);
  try {
    const rows = await measure(registry, proxy, directory);
    const table = formatRows(rows);
    process.stdout.write(`${table}\n`);
    if (values.write) await writeSection('many-images', section(table));
    const times = rows[0]!.usage.wall / rows[1]!.usage.wall;
    if (values.check && times < LEAST) throw new Error(`below the bar: ${times.toFixed(1)} times as fast`);
  } finally {
    await proxy.stop();
    await registry.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

await main();
