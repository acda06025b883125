/**
 * Measures a cold start: opens a converted image in a local registry from nothing and reads a fixed list of files.
 * Counts requests and bytes as an HTTP proxy sees them, and the distinct 256 KiB chunks that they touch, which
 * is what a node's runtime fetches. See README.md beside this file.
 */

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
import { readImage, withCopy } from './layout.ts';
import { pushImage } from './push-image.ts';
import { IMAGES, MODES } from './scenarios.ts';
import { writeSection } from './section.ts';

const CLI = join(import.meta.dirname, '..', 'program', 'main.js');
/** The unit in which the runtime fetches (docs/formats.md §4). */
const CHUNK = 256 * 1024;
/** The modes, each with a tag of its own, which its first flag names. */
const OPENED = MODES.filter(({ name }) => name !== 'both').map((mode) => ({ ...mode, tag: mode.flags[1]! }));
type OpenedMode = (typeof OPENED)[number];
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

/** The most that the first task may cost: from nothing, everything included. */
const BARS: Readonly<Partial<Record<string, { readonly requests: number; readonly bytes: number }>>> = {
  full: { requests: 26, bytes: 420_000 },
  'index-only': { requests: 20, bytes: 1_000_000 },
};

function libraryPath(name: string): string {
  return `/usr/lib/x86_64-linux-gnu/${name}`;
}

async function drain(files: ImageFiles, ...paths: string[]): Promise<void> {
  for (const path of paths) for await (const _ of files.content(path));
}

async function measure(proxy: CountingProxy, { name: mode, tag }: OpenedMode, task: Task): Promise<Row> {
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

function section(table: string, about: string): string {
  return `## A cold start

${table}

The image: ${about}.
It is opened from nothing through a registry on the same machine, and the files are read. Requests and bytes are what an
HTTP proxy between the two counted, manifests, configs and indexes included. Chunks are the distinct aligned pieces of
256 KiB of the layers' blobs that were touched, which is what a node would fetch; of an index-only layer it fetches its own
blob whole. The whole image is its blobs, and for
index-only those of the base image as well.`;
}

async function main(): Promise<void> {
  const scenario = IMAGES.find(({ name }) => name === 'debian')!;
  const layout = await scenario.layout({ directory: tmpdir(), scale: 1 });
  if (layout === undefined) throw new Error(`the image is not on this machine: ${scenario.about}`);
  const registry = await startRegistry();
  const proxy = await startCountingProxy(registry.host);
  try {
    await withCopy((await readImage(layout)).layout, async (copy) => {
      for (const mode of OPENED)
        await runMeasured(CLI, ['convert', '-r', `oci:${copy}`, '-i', 'latest', ...mode.flags, '--json']);
      const from = await openTarget({ kind: 'layout', directory: copy });
      const to = await openRegistry({ registry: registry.host, repository: 'bench' }, { plain: true });
      for (const { tag } of OPENED) await pushImage(from, to, tag, 'latest');
      await to.close();
    });
    const rows: Row[] = [];
    for (const task of TASKS) for (const mode of OPENED) rows.push(await measure(proxy, mode, task));
    const table = formatRows(rows);
    process.stdout.write(`${table}\n`);
    if (values.write) await writeSection('lazy', section(table, scenario.about));
    const broken = brokenBars(rows);
    if (values.check && broken.length > 0) throw new Error(`over the bar: ${broken.join('; ')}`);
  } finally {
    await proxy.stop();
    await registry.stop();
  }
}

await main();
