/**
 * Measures what docs/benchmarks.md says of the agent's limits, of reads beside a prefetch, and of lazily loaded images on several
 * nodes, on loopback. `node dist/scripts/run-on-server-node.js dist/bench/agent.js [--write] [--check]`.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { openImage } from '../reader/accelerated-image.ts';
import { openFiles } from '../reader/files.ts';
import { convertedLayout, FULL, INDEXED } from '../reader/testing/test-images.ts';
import type { AgentOptions } from '../server/agent/agent.ts';
import { type Cluster, startCluster } from '../server/demo/cluster.ts';
import { startDemoRegistry } from '../server/demo/demo-registry.ts';
import { DeviceClient } from '../server/demo/device-client.ts';
import { deviceTarget } from '../server/demo/device-target.ts';
import { type MadeImage, writeImageLayout } from '../server/demo/image-layout.ts';
import { machine } from './machine.ts';
import { writeSection } from './section.ts';

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    only: { type: 'string' },
  },
});

const PIECE = 2 ** 21;
/** The limit that is measured, bytes a second, and the bytes moved under it. */
const RATE = 20e6;
const MOVED = 128 * 2 ** 20;
const STREAMS = [1, 4, 16, 64];
/** Bytes a second of the registry beside a prefetch, pieces that a client reads, and milliseconds between two of its reads. */
const LINK = 25e6;
const READS = 24;
const PAUSES = [0, 150];
/** Largest deviation of a limit, and longest reads beside a prefetch, as shares. */
const MOST_DEVIATION = 0.05;
const MOST_SLOWER = 1.2;

const broken: string[] = [];

function limits(name: string, held: boolean): void {
  if (!held) broken.push(name);
}

function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Runs `body` with a registry that has blobs of these sizes, and removes everything. */
async function withRegistry<T>(
  sizes: readonly number[],
  bytesPerSecond: number | undefined,
  body: (registry: Awaited<ReturnType<typeof startDemoRegistry>>, image: MadeImage) => Promise<T>,
): Promise<T> {
  const layout = await mkdtemp(join(tmpdir(), 'accel-bench-agent-'));
  const image = await writeImageLayout(
    layout,
    sizes.map((size) => randomBytes(size)),
  );
  const registry = await startDemoRegistry({ layout, ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }) });
  try {
    return await body(registry, image);
  } finally {
    await registry.close();
    await rm(layout, { recursive: true, force: true });
  }
}

async function withCluster<T>(
  host: string,
  { size, rates }: { readonly size: number; readonly rates?: (node: number) => Partial<AgentOptions['rates']> },
  body: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const cluster = await startCluster({
    size,
    upstreams: [{ host, plain: true, http: {} }],
    change: (options, node) => ({
      ...options,
      store: { ...options.store, memory: 512 * 2 ** 20 },
      rates: { ...options.rates, ...rates?.(node) },
    }),
  });
  try {
    return await body(cluster);
  } finally {
    await cluster.close();
  }
}

async function drain(url: string, range?: string): Promise<number> {
  const got = await fetch(url, range === undefined ? {} : { headers: { range } });
  if (!got.ok) throw new Error(`${url}: HTTP ${got.status}`);
  let bytes = 0;
  for await (const chunk of got.body!) bytes += chunk.length;
  return bytes;
}

interface Drained {
  readonly bytes: number;
  readonly seconds: number;
}

/** Reads all URLs at once in a process of its own. */
async function drainAll(urls: readonly string[]): Promise<Drained> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'drain-urls.js')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(urls));
  const [said] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return JSON.parse(said) as Drained;
}

/** Brings an image onto a node by a prefetch. */
async function prefetchAll(url: string, host: string, { layers }: MadeImage): Promise<void> {
  const blobs = layers.map(({ digest, size }) => ({ digest, size, pieces: [[0, Math.ceil(size / PIECE)]] }));
  const body = JSON.stringify({ registry: host, repository: 'bench', blobs });
  const path = `${url}/api/v1/prefetch`;
  const posted = await fetch(path, { method: 'POST', body });
  if (posted.status !== 202) throw new Error(`the prefetch is refused: HTTP ${posted.status}`);
  const { id } = (await posted.json()) as { readonly id: string };
  for (;;) {
    const { state } = (await (await fetch(`${path}/${id}`)).json()) as { readonly state: string };
    if (state === 'done') return;
    if (state !== 'running') throw new Error(`the prefetch ends as ${state}`);
    await sleep(50);
  }
}

const blobUrl = (base: string, digest: string) => `${base}/v2/bench/blobs/${digest}`;

/** The rate that so many streams get under a limit, as a share of it. */
async function limited(
  kind: 'to clients' | 'from other agents' | 'from the registry',
  streams: number,
): Promise<number> {
  const sizes = Array.from({ length: streams }, () => Math.floor(MOVED / streams));
  return withRegistry(sizes, undefined, (registry, image) => {
    const rates = (node: number): Partial<AgentOptions['rates']> =>
      kind === 'to clients'
        ? { toClients: RATE }
        : kind === 'from the registry'
          ? { fromOrigin: RATE }
          : node === 1
            ? { toPeers: RATE }
            : {};
    return withCluster(registry.host, { size: kind === 'from other agents' ? 2 : 1, rates }, async ({ nodes }) => {
      const urls = (node: number) => image.layers.map(({ digest }) => blobUrl(nodes[node]!.url, digest));
      // All pieces are here or on the other node already, unless the registry is what is limited. A device's reads bring them
      // past the limit of clients, which counts bytes that leave.
      if (kind === 'from other agents') await drainAll(urls(0));
      if (kind === 'to clients') await prefetchAll(nodes[0]!.url, registry.host, image);
      const node = kind === 'from other agents' ? 1 : 0;
      const { bytes, seconds } = await drainAll(urls(node));
      // A node that owns a piece may ask the registry for it.
      const { values: received } = await nodes[node]!.agent.metrics.fromPeers.get();
      const moved = kind === 'from other agents' ? received.reduce((sum, { value }) => sum + value, 0) : bytes;
      return moved / seconds / RATE;
    });
  });
}

async function limitTable(): Promise<string> {
  const rows: string[] = [];
  for (const kind of ['to clients', 'from other agents', 'from the registry'] as const) {
    const shares: string[] = [];
    for (const streams of STREAMS) {
      const share = await limited(kind, streams);
      log(`limit ${kind}, ${streams} streams: ${share.toFixed(3)}`);
      limits(`${kind}, ${streams} streams: ${share.toFixed(3)} of the limit`, Math.abs(share - 1) <= MOST_DEVIATION);
      shares.push(share.toFixed(3));
    }
    rows.push(`| ${kind} | ${shares.join(' | ')} |`);
  }
  const head = `| limit of ${RATE / 1e6} MB/s | ${STREAMS.map((n) => `${n} stream${n === 1 ? '' : 's'}`).join(' | ')} |`;
  return [head, `|${' --- |'.repeat(STREAMS.length + 1)}`, ...rows].join('\n');
}

/** Milliseconds of reads of a piece each, one after another, with and without a prefetch beside them. */
async function reads(prefetch: boolean, pause: number): Promise<number> {
  return withRegistry([(READS + 1) * PIECE, 128 * PIECE], LINK, (registry, image) =>
    withCluster(registry.host, { size: 1 }, async ({ nodes }) => {
      const [{ url }] = nodes as [Cluster['nodes'][number]];
      const [read, other] = image.layers as [MadeImage['layers'][number], MadeImage['layers'][number]];
      if (prefetch) {
        const blobs = [{ ...other, pieces: [[0, 128]] }];
        const body = JSON.stringify({ registry: registry.host, repository: 'bench', blobs });
        const posted = await fetch(`${url}/api/v1/prefetch`, { method: 'POST', body });
        if (posted.status !== 202) throw new Error(`the prefetch is refused: HTTP ${posted.status}`);
      }
      let spent = 0;
      for (let index = 0; index < READS; index++) {
        const started = performance.now();
        await drain(blobUrl(url, read.digest), `bytes=${index * PIECE}-${index * PIECE + 262_143}`);
        spent += performance.now() - started;
        await sleep(pause);
      }
      return spent;
    }),
  );
}

async function prefetchTable(): Promise<string> {
  const rows: string[] = [];
  // Not counted: the first round is slower than those that follow.
  await reads(false, 0);
  for (const pause of PAUSES) {
    const alone = await reads(false, pause);
    const beside = await reads(true, pause);
    const ratio = beside / alone;
    log(`reads each ${pause} ms: ${alone.toFixed(0)} ms alone, ${beside.toFixed(0)} ms beside a prefetch`);
    limits(`reads each ${pause} ms beside a prefetch: ${ratio.toFixed(2)} times as long`, ratio <= MOST_SLOWER);
    const how = pause === 0 ? 'one after another' : `${pause} ms between two`;
    rows.push(`| ${how} | ${(alone / 1000).toFixed(2)} s | ${(beside / 1000).toFixed(2)} s | ${ratio.toFixed(2)} |`);
  }
  return [
    `| ${READS} reads of 256 KiB, registry at ${LINK / 1e6} MB/s | alone | beside a prefetch of another image | ratio |`,
    '| --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

interface Start {
  readonly seconds: number;
  readonly registry: number;
  readonly distinct: number;
}

async function lazyTable(): Promise<string> {
  const tar = new TarBuilder()
    .file('data/first', randomBytes(20 * 2 ** 20))
    .file('usr/bin/app', randomBytes(12 * 2 ** 20))
    .file('data/last', randomBytes(32 * 2 ** 20));
  const layout = await convertedLayout([{ tar: tar.build() }]);
  const registry = await startDemoRegistry({ layout: layout.directory, bytesPerSecond: LINK });
  const rows: string[] = [];
  const start = async ({ nodes }: Cluster, tag: string): Promise<Start> => {
    const before = registry.blobBytes();
    const started = performance.now();
    const pieces = await Promise.all(
      nodes.map(async ({ url }) => {
        const device = new DeviceClient(`${url}/dadip2p`);
        const target = deviceTarget(layout.target, device, `http://${registry.host}/v2/bench/`);
        const files = await openFiles(await openImage(target, tag));
        for await (const part of files.content('/usr/bin/app')) void part;
        const touched = await device.pieces;
        device.close();
        return touched;
      }),
    );
    const distinct = new Map(pieces.flatMap((touched) => [...touched]));
    return {
      seconds: (performance.now() - started) / 1000,
      registry: registry.blobBytes() - before,
      distinct: [...distinct.values()].reduce((sum, bytes) => sum + bytes, 0),
    };
  };
  try {
    for (const tag of [FULL, INDEXED])
      for (const size of [1, 4, 8])
        await withCluster(registry.host, { size }, async (cluster) => {
          for (const state of ['cold', 'warm']) {
            const { seconds, registry: sent, distinct } = await start(cluster, tag);
            const mode = tag === FULL ? 'full' : 'index-only';
            log(`${mode}, ${size} nodes, ${state}: ${seconds.toFixed(2)} s, ${sent} of ${distinct} bytes`);
            limits(`${mode}, ${size} nodes, ${state}: ${sent} bytes for ${distinct}`, sent <= distinct);
            const times = (sent / distinct).toFixed(2);
            rows.push(
              `| ${mode} | ${size} | ${state} | ${seconds.toFixed(2)} s | ${(distinct / 1e6).toFixed(1)} MB | ${times} × |`,
            );
          }
        });
  } finally {
    await registry.close();
    await layout.remove();
  }
  return [
    '| mode | nodes at once | cache | slowest start | read, rounded to pieces | the registry sent |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

const TABLES = { limits: limitTable, prefetches: prefetchTable, starts: lazyTable };

async function main(): Promise<void> {
  if (values.only !== undefined) {
    const table = TABLES[values.only as keyof typeof TABLES];
    if (table === undefined) throw new Error(`--only takes one of ${Object.keys(TABLES).join(', ')}`);
    process.stdout.write(`${await table()}\n`);
    return;
  }
  const parts = [await limitTable(), await prefetchTable(), await lazyTable()];
  const section = [
    '## The agent: limits, prefetches, lazily loaded images',
    `One process on loopback has the registry and all agents; one run. Limits are for ${MOVED / 2 ** 20} MiB, read by clients in a second process, as shares of the limit: 1 is exact. An agent has the pieces before it is asked for them, except where the registry is limited.`,
    parts[0],
    'A prefetch gives way to reads: one of its pieces is on its way at a time, stops when a read begins, and goes on from there 50 ms after the last.',
    parts[1],
    `A container's start reads a program of 12 MiB in an image of 64 MiB, as overlaybd reads: in ranges of 256 KiB, without a cache of its own. The registry is limited to ${LINK / 1e6} MB/s.`,
    parts[2],
    `Machine: ${machine()}.`,
  ].join('\n\n');
  process.stdout.write(`${section}\n`);
  if (values.write) await writeSection('agent', section);
  for (const line of broken) log(`over the limit: ${line}`);
  if (values.check && broken.length > 0) process.exitCode = 1;
}

await main();
