/**
 * Measures the gain of a prefetch list at the first start: reads the files that `python3 -c ''` reads, one after another,
 * from nothing, over a slow link to a registry, with and without the image's acceleration layer replayed beside it. See
 * README.md beside this file.
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { addPrefetch } from '../converter/prefetch/add-prefetch.ts';
import { openTarget } from '../oci/open.ts';
import { openRegistry } from '../oci/registry/registry-target.ts';
import type { Target } from '../oci/storage.ts';
import { readCarriedPrefetch } from '../prefetch/carried.ts';
import { findStartupFiles } from '../prefetch/startup/startup.ts';
import { openImage } from '../reader/accelerated-image.ts';
import { type ImageFiles, openFiles } from '../reader/files.ts';
import { replay } from '../reader/testing/replay.ts';
import { startRegistry } from '../tests/support/registry.ts';
import { runMeasured } from './child.ts';
import { readImage, withCopy } from './layout.ts';
import { pushImage } from './push-image.ts';
import { median } from './report.ts';
import { IMAGES } from './scenarios.ts';
import { writeSection } from './section.ts';
import { type LinkOptions, type SlowLink, startSlowLink } from './slow-link.ts';

const CLI = join(import.meta.dirname, '..', 'program', 'main.js');
const TAGS = { full: 'bench_full', 'index-only': 'bench_index' } as const;
/** The command that the image is assumed to start. */
const COMMAND = ['python3', '-c', ''];
const LATENCY = 20;
const RATE = 25e6;
const LINKS: readonly { readonly name: string; readonly options: LinkOptions }[] = [
  { name: '25 Mbit/s a request', options: { latency: LATENCY, rate: RATE, shared: false } },
  { name: '25 Mbit/s in all', options: { latency: LATENCY, rate: RATE, shared: true } },
];
/** The kernel reads ahead by so much where reading goes on (`read_ahead_kb`). */
const KERNEL_READ = 128 * 1024;
/** Requests of a node under way at a time. */
const PARALLEL = 16;
const CACHE = 1 << 28;
/** Upper bound of the start's time with prefetch, as a share of the time without, where each request has its own rate. */
const BAR = 1 / 3;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    write: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
});

interface Start {
  readonly seconds: number;
  readonly requests: number;
  readonly bytes: number;
}

interface Row extends Start {
  readonly link: string;
  readonly mode: keyof typeof TAGS;
  readonly prefetch: boolean;
}

/** The files of the start, in the order in which they are opened. */
async function startupPaths(files: ImageFiles): Promise<string[]> {
  const { groups } = await findStartupFiles(files, {
    config: { Cmd: COMMAND },
    rootfs: { type: 'layers', diff_ids: [] },
  });
  return groups.flatMap(({ paths }) => paths);
}

/** Reads a file as the kernel does for a program: a piece at a time, each when the one before is there. */
async function readAsNode(files: ImageFiles, path: string): Promise<void> {
  const stat = await files.stat(path);
  for (let at = 0; at < stat.size; at += KERNEL_READ) for await (const _ of files.content(stat, at, at + KERNEL_READ));
}

async function start(
  link: SlowLink,
  options: LinkOptions,
  { tag, paths, prefetch }: { readonly tag: string; readonly paths: readonly string[]; readonly prefetch: boolean },
): Promise<Start> {
  const target = await openRegistry({ registry: link.host, repository: 'bench' }, { plain: true });
  link.reset(options);
  const began = performance.now();
  const image = await openImage(target, tag, { parallel: PARALLEL, cacheBytes: CACHE });
  const carried = prefetch ? await readCarriedPrefetch(target, image.manifest.layers) : undefined;
  const replaying = carried && replay(image, carried.trace);
  const files = await openFiles(image);
  for (const path of paths) await readAsNode(files, path);
  const seconds = (performance.now() - began) / 1000;
  await replaying;
  const { requests, bytes } = link.count();
  await target.close();
  return { seconds, requests, bytes };
}

/** Throws unless the replay alone brings all that looking up and reading the files takes. */
async function assertComplete(link: SlowLink, tag: string, paths: readonly string[]): Promise<void> {
  const target = await openRegistry({ registry: link.host, repository: 'bench' }, { plain: true });
  const image = await openImage(target, tag, { parallel: PARALLEL, cacheBytes: CACHE });
  const carried = await readCarriedPrefetch(target, image.manifest.layers);
  await replay(image, carried!.trace);
  const before = link.count().requests;
  const files = await openFiles(image);
  for (const path of paths) await readAsNode(files, path);
  const requests = link.count().requests - before;
  await target.close();
  if (requests > 0) throw new Error(`${tag}: ${requests} requests after the replay`);
}

async function measure(link: SlowLink, paths: readonly string[], rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { name, options } of LINKS) {
    for (const mode of ['full', 'index-only'] as const) {
      for (const prefetch of [false, true]) {
        const starts: Start[] = [];
        for (let i = 0; i < rounds; i++) starts.push(await start(link, options, { tag: TAGS[mode], paths, prefetch }));
        const { requests, bytes } = starts[0]!;
        rows.push({ link: name, mode, prefetch, requests, bytes, seconds: median(starts.map((one) => one.seconds)) });
      }
    }
  }
  return rows;
}

function formatRows(rows: readonly Row[]): string {
  const head = ['link', 'mode', 'prefetch', 'requests', 'MB', 'seconds', '×'];
  const lines = rows.map((row) => {
    const without = rows.find(({ link, mode, prefetch }) => link === row.link && mode === row.mode && !prefetch)!;
    return [
      row.link,
      row.mode,
      row.prefetch ? 'yes' : 'no',
      row.requests,
      (row.bytes / 1e6).toFixed(1),
      row.seconds.toFixed(2),
      (row.seconds / without.seconds).toFixed(2),
    ];
  });
  return [head, head.map((_, i) => (i < 3 ? '---' : '---:')), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function section(table: string, about: string, paths: readonly string[], rounds: number): string {
  return `## A first start with a prefetch list

${table}

The image: ${about}. The list: the ${paths.length} files that \`accel prefetch record\`
finds for \`python3 -c ''\`. A proxy on loopback answers each request after ${LATENCY} ms, and then at 25 Mbit/s, either
each request at that rate or all of them together. The image is opened from nothing and the files are read one after
another, each in pieces of 128 KiB, as the kernel reads ahead; with prefetch the acceleration layer (a trace in full mode, a
list in index-only mode) is replayed beside that, 16 reads at a time, as a node does. Requests and bytes are what the proxy
counted, manifests, configs and indexes included. Medians of ${rounds} rounds; × is the share of the time without prefetch.`;
}

async function withImages(source: string, to: Target, paths: string[]): Promise<void> {
  await withCopy((await readImage(source)).layout, async (copy) => {
    const tags = ['--overlaybd', TAGS.full, '--turboOCI', TAGS['index-only']];
    await runMeasured(CLI, ['convert', '-r', `oci:${copy}`, '-i', 'latest', ...tags, '--json']);
    const from = await openTarget({ kind: 'layout', directory: copy });
    paths.push(...(await startupPaths(await openFiles(await openImage(from, TAGS.full)))));
    for (const tag of Object.values(TAGS)) {
      await addPrefetch({
        target: from,
        tagOrDigest: tag,
        prefetch: { lines: paths.map((path) => Buffer.from(path, 'latin1')) },
      });
      await pushImage(from, to, tag, 'latest');
    }
  });
}

async function main(): Promise<void> {
  const scenario = IMAGES.find(({ name }) => name === 'debian')!;
  const layout = await scenario.layout({ directory: tmpdir(), scale: 1 });
  if (layout === undefined) throw new Error(`the image is not on this machine: ${scenario.about}`);
  const rounds = Number(values.rounds);
  const registry = await startRegistry();
  const link = await startSlowLink(registry.host);
  try {
    const to = await openRegistry({ registry: registry.host, repository: 'bench' }, { plain: true });
    const paths: string[] = [];
    await withImages(layout, to, paths);
    await to.close();
    for (const tag of Object.values(TAGS)) await assertComplete(link, tag, paths);
    const rows = await measure(link, paths, rounds);
    const table = formatRows(rows);
    process.stdout.write(`${table}\n`);
    if (values.write) await writeSection('prefetch', section(table, scenario.about, paths, rounds));
    const [without, withList] = rows;
    if (values.check && withList!.seconds > BAR * without!.seconds)
      throw new Error(`over the bar: ${withList!.seconds} s with prefetch, ${without!.seconds} s without`);
  } finally {
    await link.stop();
    await registry.stop();
  }
}

await main();
