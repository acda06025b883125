/**
 * Measures a cold start: opens a converted image in a local registry from nothing and reads a fixed list of files.
 * Counts requests and bytes as an HTTP proxy sees them, and the distinct 256 KiB chunks that they touch, which
 * is what a node's runtime fetches. See README.md beside this file.
 */

import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openTarget } from '../oci/open.ts';
import { openRegistry } from '../oci/registry/registry-target.ts';
import { openImage } from '../reader/accelerated-image.ts';
import { type ImageFiles, openFiles } from '../reader/files.ts';
import { imageSize } from '../reader/footprint.ts';
import { startRegistry } from '../tests/support/registry.ts';
import { runMeasured } from './child.ts';
import { type CountingProxy, startCountingProxy } from './counting-proxy.ts';
import { keepFirstLayers } from './first-layers.ts';
import { readImage, withCopy } from './layout.ts';
import { pushImage } from './push-image.ts';
import { IMAGES, MODES } from './scenarios.ts';
import { writeSection } from './section.ts';

const CLI = join(import.meta.dirname, '..', 'program', 'main.js');
/** The unit in which the runtime fetches (docs/formats.md §4). */
const CHUNK = 256 * 1024;
/** The modes, each with a tag of its own, which its first flag names. */
const OPENED = MODES.filter(({ name }) => name !== 'both').map((mode) => ({ ...mode, tag: mode.flags[1]! }));
/** The modes of the second table, once in the order of the source and once laid out. */
const LAID_OUT = OPENED.filter(({ name }) => ['full', 'full, zstd 32 KiB, level 1', 'index-only'].includes(name));
/** `python3 -c ''`, by strace; the version is read from the image. */
const PYTHON_FILES = [
  ...['encodings/__init__', 'codecs', 'encodings/aliases', 'encodings/utf_8', 'io', 'abc', 'site', 'os', 'stat'],
  ...['_collections_abc', 'posixpath', 'genericpath', '_sitebuiltins'],
];
const LIBRARIES = ['libc.so.6', 'libm.so.6', 'libz.so.1', 'libexpat.so.1', 'ld-linux-x86-64.so.2'];

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
});

/** Something that a user or a container does first. */
interface Task {
  readonly name: string;
  run(files: ImageFiles): Promise<void>;
}

/** Names the task that the bars limit. */
const FIRST_TASK = 'ls / and cat /etc/os-release';

const TASKS: readonly Task[] = [
  { name: 'opening it', run: async () => undefined },
  {
    name: FIRST_TASK,
    async run(files) {
      await files.names('/');
      await drain(files, '/etc/os-release');
    },
  },
  {
    name: 'a shell: sh with its libraries',
    run: (files) => drain(files, '/bin/sh', ...LIBRARIES.filter((name) => /libc|ld-/.test(name)).map(libraryPath)),
  },
  {
    name: 'python3 -c "": interpreter, libraries, start-up files',
    async run(files) {
      const python = (await files.stat('/usr/bin/python3')).path;
      const version = python.slice(python.lastIndexOf('/') + 1);
      const modules = PYTHON_FILES.map((name) => `/usr/lib/${version}/${name}.py`);
      await drain(files, python, ...LIBRARIES.map(libraryPath), ...modules);
    },
  },
];

/** A row of the table. */
interface Row {
  readonly task: string;
  readonly mode: string;
  readonly requests: number;
  readonly bytes: number;
  readonly chunks: number;
  readonly whole: number;
}

/** A mode that an image was converted in, and its tag. */
interface Converted {
  readonly name: string;
  readonly tag: string;
}

/** A mode to convert in. */
interface MeasuredMode extends Converted {
  readonly flags: readonly string[];
  readonly isLaidOut?: boolean;
}

/** The image, and the registry that it is read from. */
interface Place {
  readonly layout: string;
  readonly host: string;
  readonly proxy: CountingProxy;
  /** Lowest layers to take; omitted: all. */
  readonly layers?: number;
}

/** The most that the first task may cost: from nothing, everything included. */
const BARS: Readonly<Partial<Record<string, { readonly requests: number; readonly bytes: number }>>> = {
  full: { requests: 26, bytes: 420_000 },
  'index-only': { requests: 20, bytes: 1_000_000 },
};

/** Layers of the image of the second table: node software refuses the fourth. */
const FIRST_LAYERS = 3;
/** The list that these layers are laid out by: everything that the tasks read. */
const STARTUP_LIST = [
  '/etc/os-release',
  '/bin/sh',
  '/usr/bin/python3',
  ...LIBRARIES.map(libraryPath),
  ...PYTHON_FILES.map((name) => `/usr/lib/python3.*/${name}.py`),
];
/** A row that may cost so much at most, by mode and by the start of the task's name. */
interface LayoutBar {
  readonly mode: string;
  readonly task: string;
  readonly chunks: number;
  readonly requests: number;
}
/** The most that tasks may cost of layers that are laid out. */
const LAYOUT_BARS: readonly LayoutBar[] = [
  { mode: 'full, zstd 32 KiB, level 1, startup', task: 'ls', chunks: 8, requests: 8 },
  { mode: 'full, zstd 32 KiB, level 1, startup', task: 'a shell', chunks: 12, requests: 10 },
  { mode: 'full, zstd 32 KiB, level 1, startup', task: 'python3', chunks: 28, requests: 22 },
  { mode: 'index-only, startup', task: 'python3', chunks: 45, requests: 22 },
];

function libraryPath(name: string): string {
  return `/usr/lib/x86_64-linux-gnu/${name}`;
}

async function drain(files: ImageFiles, ...paths: string[]): Promise<void> {
  for (const path of paths) for await (const _ of files.content(path));
}

async function measure(proxy: CountingProxy, { name: mode, tag }: Converted, task: Task): Promise<Row> {
  const target = await openRegistry({ registry: proxy.host, repository: 'bench' }, { plain: true });
  const chunks = new Map<string, Set<number>>();
  proxy.reset();
  const image = await openImage(target, tag, {
    onRange(digest, offset, length) {
      const touched = chunks.get(digest) ?? new Set();
      for (let at = Math.floor(offset / CHUNK); at * CHUNK < offset + length; at++) touched.add(at);
      chunks.set(digest, touched);
    },
  });
  await task.run(await openFiles(image));
  const { requests, bytes } = proxy.count();
  await target.close();
  const blobs = new Set(image.layers.flatMap(({ descriptor, source }) => [descriptor.digest, source?.digest]));
  // A node fetches an index-only layer's own blob whole, whatever accel's reader needs of it.
  const own = image.layers.filter(({ kind }) => kind === 'index-only').map(({ descriptor }) => descriptor);
  for (const { digest, size } of own) chunks.set(digest, new Set(Array(Math.ceil(size / CHUNK)).keys()));
  const touched = [...blobs].reduce((sum, digest) => sum + (chunks.get(digest ?? '')?.size ?? 0), 0);
  return { task: task.name, mode, requests, bytes, chunks: touched, whole: imageSize(image) };
}

function formatRows(rows: readonly Row[]): string {
  const head = ['what', 'mode', 'requests', 'kB', '256 KiB chunks', 'whole image MB', '%'];
  const lines = rows.map(({ task, mode, requests, bytes, chunks, whole }) => [
    task,
    mode,
    requests,
    (bytes / 1e3).toFixed(0),
    chunks,
    (whole / 1e6).toFixed(0),
    ((bytes / whole) * 100).toFixed(2),
  ]);
  return [head, head.map((_, i) => (i < 2 ? '---' : '---:')), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function brokenBars(rows: readonly Row[]): string[] {
  return rows
    .filter(({ task }) => task === FIRST_TASK)
    .filter(({ mode, requests, bytes }) => {
      const bar = BARS[mode];
      return bar !== undefined && (requests > bar.requests || bytes > bar.bytes);
    })
    .map(({ mode, requests, bytes }) => `${mode}: ${requests} requests, ${bytes} bytes`);
}

function brokenLayoutBars(rows: readonly Row[]): string[] {
  return LAYOUT_BARS.flatMap((bar) =>
    rows
      .filter(({ mode, task }) => mode === bar.mode && task.startsWith(bar.task))
      .filter(({ chunks, requests }) => chunks > bar.chunks || requests > bar.requests)
      .map(({ mode, task, chunks, requests }) => `${mode}: ${chunks} chunks, ${requests} requests for ${task}`),
  );
}

function section(table: string, layouts: string, about: string): string {
  return `## A cold start

${table}

The image: ${about}.
It is opened from nothing through a registry on the same machine, and the files are read. Requests and bytes are what an
HTTP proxy between the two counted, manifests, configs and indexes included. Chunks are the distinct aligned pieces of
256 KiB of the layers' blobs that were touched, which is what a node would fetch; of an index-only layer it fetches its own
blob whole. The whole image is its blobs, and for
index-only those of the base image as well.

The first ${FIRST_LAYERS} layers of the image alone, in the order of the source and laid out for a start ([layout.md](layout.md)) by a list of what
the tasks read:

${layouts}`;
}

/** Converts the image in each mode and runs each task on each result. */
async function measureAll({ layout, host, proxy, layers }: Place, modes: readonly MeasuredMode[]): Promise<Row[]> {
  const converted: Converted[] = [];
  await withCopy((await readImage(layout)).layout, async (copy) => {
    if (layers !== undefined) await keepFirstLayers(copy, layers);
    const list = join(copy, 'startup-list');
    await writeFile(list, STARTUP_LIST.join('\n'));
    for (const { name, tag: named, flags, isLaidOut = false } of modes) {
      const tag = `${named}${layers === undefined ? '' : `_${layers}`}${isLaidOut ? '_startup' : ''}`;
      const order = isLaidOut ? ['--layout', 'startup', '--prefetch', list] : [];
      await runMeasured(CLI, ['convert', '-r', `oci:${copy}`, '-i', 'latest', ...flags, ...order, '-o', tag, '--json']);
      converted.push({ name: isLaidOut ? `${name}, startup` : name, tag });
    }
    const from = await openTarget({ kind: 'layout', directory: copy });
    const to = await openRegistry({ registry: host, repository: 'bench' }, { plain: true });
    for (const { tag } of converted) await pushImage(from, to, tag, 'latest');
    await to.close();
  });
  const rows: Row[] = [];
  for (const task of TASKS) for (const one of converted) rows.push(await measure(proxy, one, task));
  return rows;
}

async function main(): Promise<void> {
  const scenario = IMAGES.find(({ name }) => name === 'debian')!;
  const layout = await scenario.layout({ directory: tmpdir(), scale: 1 });
  if (layout === undefined) throw new Error(`the image is not on this machine: ${scenario.about}`);
  const registry = await startRegistry();
  const proxy = await startCountingProxy(registry.host);
  try {
    const rows = await measureAll({ layout, host: registry.host, proxy }, OPENED);
    const layouts = await measureAll({ layout, host: registry.host, proxy, layers: FIRST_LAYERS }, [
      ...LAID_OUT,
      ...LAID_OUT.map((mode) => ({ ...mode, isLaidOut: true })),
    ]);
    const [table, layoutTable] = [formatRows(rows), formatRows(layouts)];
    process.stdout.write(`${table}\n\n${layoutTable}\n`);
    if (values.write) await writeSection('lazy', section(table, layoutTable, scenario.about));
    const broken = [...brokenBars(rows), ...brokenLayoutBars(layouts)];
    if (values.check && broken.length > 0) throw new Error(`over the bar: ${broken.join('; ')}`);
  } finally {
    await proxy.stop();
    await registry.stop();
  }
}

await main();
