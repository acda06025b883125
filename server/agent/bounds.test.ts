/** Tests the bounds of an agent: its end, its beginning, the wait of a client, bytes a second between agents, memory for slow clients. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PIECE_BYTES, pieceBytes, pieceCount } from '../../formats/piece-list/piece-list.ts';
import { type Cluster, type ClusterOptions, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';
import type { AgentGauges } from '../telemetry/agent-metrics.ts';
import { BlobStreams } from './blob-stream.ts';
import type { PieceFetcher } from './pieces/fetch-piece.ts';

const LAYER_BYTES = 5 * 2 ** 20 + 1;
let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
let cluster: Cluster | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-bounds-'));
  image = await writeImageLayout(folder, [randomBytes(LAYER_BYTES)]);
  registry = await startDemoRegistry({ layout: folder });
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(change: ClusterOptions['change'] = (options) => options, host = registry.host, size = 1) {
  cluster = await startCluster({ size, upstreams: [{ host, plain: true, http: {} }], change });
  return cluster.nodes;
}

const layer = () => image.layers[0]!;
const digestOf = (bytes: ArrayBuffer) => `sha256:${createHash('sha256').update(Buffer.from(bytes)).digest('hex')}`;

describe('the end and the beginning', () => {
  it('an agent that stops refuses connections, and transfers in progress end whole', async () => {
    const [node] = await start((options) => ({ ...options, rates: { ...options.rates, toClients: 4 * 2 ** 20 } }));
    const running = await fetch(`${node!.url}/v2/team/app/blobs/${layer().digest}`);
    const closed = node!.agent.close(30_000);
    await expect(fetch(`${node!.url}/v2/`)).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
    expect(digestOf(await running.arrayBuffer())).toBe(layer().digest);
    await closed;
  });

  it('a transfer that outlasts its time is cut', async () => {
    const [node] = await start((options) => ({ ...options, rates: { ...options.rates, toClients: 1000 } }));
    const running = await fetch(`${node!.url}/v2/team/app/blobs/${layer().digest}`);
    await node!.agent.close(100);
    await expect(running.arrayBuffer()).rejects.toThrow();
  });

  it('an agent without a view of the members serves, and is not ready until it has one', async () => {
    let known = false;
    const [node] = await start((options) => ({
      ...options,
      firstView: 50,
      members: {
        name: 'test',
        read: async (signal) => {
          if (!known) throw new Error('not yet');
          return options.members.read(signal);
        },
      },
    }));
    expect(node!.agent.unready()).toMatch(/members .* not known yet/);
    expect((await fetch(`${node!.url}/v2/team/app/blobs/${layer().digest}`)).status).toBe(200);
    known = true;
    await expect.poll(() => node!.agent.unready()).toBeUndefined();
  });
});

it('a client for whose blob nothing comes any more is not left waiting: its connection ends', async () => {
  const silent = http.createServer((request, response) => {
    if (request.method === 'HEAD') return void response.writeHead(200, { 'content-length': LAYER_BYTES }).end();
    const [from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!.slice(1).map(Number) as [number, number];
    response.writeHead(206, {
      'content-length': to - from + 1,
      'content-range': `bytes ${from}-${to}/${LAYER_BYTES}`,
    });
    // The first piece comes, and of the others nothing.
    if (from === 0) response.end(Buffer.alloc(to + 1));
    else response.flushHeaders();
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  try {
    const host = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const [node] = await start((options) => ({ ...options, patience: 300 }), host);
    const got = await fetch(`${node!.url}/v2/team/app/blobs/${layer().digest}`);
    expect([got.status, got.headers.get('content-length')]).toEqual([200, String(LAYER_BYTES)]);
    await expect(got.arrayBuffer()).rejects.toThrow();
  } finally {
    silent.closeAllConnections();
    await new Promise((resolve) => silent.close(resolve));
  }
});

describe('bytes a second between agents', () => {
  const RATE = 4 * 2 ** 20;
  /** Nodes of which the second has the image in its content store, known to the first; one of the two is limited. */
  async function startTwo(limited: number, rate = RATE) {
    const gauges: AgentGauges[] = [];
    const nodes = await start(
      (options, node) => {
        options.metrics.observe = (given) => void gauges.push(given);
        return {
          ...options,
          contentStore: node === 1 ? join(folder, 'blobs') : undefined,
          rates: node === limited ? { ...options.rates, toPeers: rate } : options.rates,
        };
      },
      registry.host,
      2,
    );
    // Layer, config and manifest, each at both trackers.
    await expect.poll(() => gauges.reduce((sum, { tracked }) => sum + tracked(), 0)).toBe(6);
    return nodes[0]!;
  }
  const fromPeers = async (metrics: Cluster['nodes'][number]['agent']['metrics']) =>
    (await metrics.fromPeers.get()).values.reduce((sum, { value }) => sum + value, 0);

  it.each([
    ['what it gives', 1],
    ['what it gets', 0],
  ])('an agent keeps to its limit in %s', async (_, limited) => {
    // A tenth of a second's worth goes at once, and the last piece is paid for by whoever comes next. A busy machine takes longer.
    const getter = await startTwo(limited);
    const started = performance.now();
    const got = await fetch(`${getter.url}/v2/team/app/blobs/${layer().digest}`);
    expect(digestOf(await got.arrayBuffer())).toBe(layer().digest);
    const seconds = (performance.now() - started) / 1000;
    const moved = await fromPeers(getter.agent.metrics);
    expect(moved).toBeGreaterThan(PIECE_BYTES);
    expect(seconds).toBeGreaterThan((moved - PIECE_BYTES) / RATE - 0.1);
  });

  it('an agent asks for no more than it may get: what has come is on the network already', async () => {
    const getter = await startTwo(0, 1000);
    const leave = new AbortController();
    const pulled = fetch(`${getter.url}/v2/team/app/blobs/${layer().digest}`, { signal: leave.signal });
    await expect.poll(() => fromPeers(getter.agent.metrics)).toBeGreaterThan(0);
    await sleep(300);
    expect(await fromPeers(getter.agent.metrics)).toBeLessThanOrEqual(PIECE_BYTES);
    leave.abort(new Error('left'));
    await pulled.then((got) => got.arrayBuffer()).catch(() => undefined);
  });
});

describe('memory for slow clients', () => {
  const PIECES = 200;
  const size = PIECES * PIECE_BYTES;
  const one = Buffer.alloc(PIECE_BYTES);
  const blobOf = (number: number) => ({
    digest: `sha256:${String(number).padStart(64, '0')}`,
    url: new URL('http://registry.example/'),
    size,
  });

  /** Streams over a fetcher that has every piece at once, and counts those that it was asked for. */
  function streams() {
    const asked = { count: 0 };
    const fetcher = {
      get: async (_: unknown, index: number) => {
        asked.count += 1;
        return { bytes: one.subarray(0, pieceBytes(size, index)), sha256: '', attestation: undefined };
      },
      progress: () => 0,
      quarantine: async () => undefined,
      release: () => undefined,
    } as unknown as PieceFetcher;
    return { asked, made: new BlobStreams(fetcher) };
  }

  const read = (made: BlobStreams, number: number, signal = new AbortController().signal) =>
    made.read({ blob: blobOf(number), range: { start: 1, end: size }, signal });

  it.each([1, 4, 20, 64, 128])('%i clients that take one piece each hold a bounded number of pieces', async (count) => {
    const { asked, made } = streams();
    const clients = Array.from({ length: count }, (_, number) => read(made, number));
    for (const client of clients) await client.next();
    await sleep(10);
    expect(asked.count).toBeLessThanOrEqual(made.held);
    expect(made.held).toBeLessThanOrEqual(64 + count);
    expect(made.held).toBeGreaterThanOrEqual(count);
    for (const client of clients) await client.return(undefined);
    expect(made.held).toBe(0);
  });

  it('one that reads gets everything beside a hundred that do not, and reads ahead again when they have gone', async () => {
    const { made } = streams();
    const idle = Array.from({ length: 100 }, (_, number) => read(made, number));
    for (const client of idle) await client.next();
    const quick = read(made, 1000);
    let got = 0;
    for (let turn = 0; turn < PIECES / 2; turn++) got += ((await quick.next()).value as Buffer).length;
    expect(made.held).toBeLessThanOrEqual(64 + 101);
    for (const client of idle) await client.return(undefined);
    for (let turn = 0; turn < PIECES / 4; turn++) got += ((await quick.next()).value as Buffer).length;
    expect(made.held).toBeGreaterThan(16);
    for await (const chunk of quick) got += chunk.length;
    expect(got).toBe(size - 1);
    expect(pieceCount(size)).toBe(PIECES);
    expect(made.held).toBe(0);
  });

  it('one that leaves while its piece is on the way gives back what it held', async () => {
    const { made } = streams();
    const gone = new AbortController();
    const client = read(made, 1, gone.signal);
    await client.next();
    gone.abort(new Error('left'));
    await client.return(undefined);
    expect(made.held).toBe(0);
  });
});
