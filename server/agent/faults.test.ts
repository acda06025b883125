/** Agents in trouble: whatever breaks, a pull that would go well without them goes well with them. */
import { createHash, randomBytes } from 'node:crypto';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Cluster, type ClusterOptions, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';
import type { AgentGauges } from '../telemetry/agent-metrics.ts';
import { staticMembers } from './peers/member-sources.ts';

const MIB = 2 ** 20;
let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
let cluster: Cluster | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-faults-'));
  image = await writeImageLayout(folder, [randomBytes(5 * MIB + 1)]);
  registry = await startDemoRegistry({ layout: folder });
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(options: Partial<ClusterOptions> & { size: number }): Promise<Cluster> {
  cluster = await startCluster({ upstreams: [{ host: registry.host, plain: true, http: {} }], ...options });
  return cluster;
}

/** Pulls the layer through a node; the digest of what came. */
async function pull({ url }: { readonly url: string }): Promise<string> {
  const got = await fetch(`${url}/v2/team/app/blobs/${image.layers[0]!.digest}`);
  if (got.status !== 200) return String(got.status);
  return `sha256:${createHash('sha256')
    .update(Buffer.from(await got.arrayBuffer()))
    .digest('hex')}`;
}

const right = () => image.layers[0]!.digest;

it('an image in the content store of one node alone costs the registry no byte of a blob', async () => {
  const store = await mkdtemp(join(tmpdir(), 'accel-content-'));
  try {
    await cp(join(folder, 'blobs'), store, { recursive: true });
    const gauges: AgentGauges[] = [];
    const { nodes } = await start({
      size: 4,
      change: (options, node) => {
        options.metrics.observe = (given) => void gauges.push(given);
        return node === 3 ? { ...options, contentStore: store } : options;
      },
    });
    // Layer, config and manifest, each at two trackers.
    const tracked = () => gauges.reduce((sum, gauge) => sum + gauge.tracked(), 0);
    await expect.poll(tracked).toBe(6);
    expect(await Promise.all(nodes.slice(0, 3).map(pull))).toEqual([right(), right(), right()]);
    expect(registry.blobBytes()).toBe(0);
  } finally {
    await rm(store, { recursive: true, force: true });
  }
});

it('lazy reads of all of a blob make a whole pull free', async () => {
  const { nodes } = await start({ size: 2 });
  for (const start of [0, 2 * MIB, 4 * MIB]) {
    const url = `${nodes[0]!.url}/dadip2p/http://${registry.host}/v2/team/app/blobs/${right()}`;
    const got = await fetch(url, { headers: { range: `bytes=${start}-${start + 262_143}` } });
    expect(got.status).toBe(206);
    await got.arrayBuffer();
  }
  const before = registry.blobBytes();
  expect(await pull(nodes[0]!)).toBe(right());
  expect(registry.blobBytes()).toBe(before);
});

it('half of the nodes knowing only themselves pull all the same', async () => {
  const { nodes } = await start({
    size: 4,
    change: (options, node) => (node % 2 === 0 ? options : { ...options, members: staticMembers([options.self.id]) }),
  });
  expect(await Promise.all(nodes.map(pull))).toEqual(Array(4).fill(right()));
});

it('an agent killed, and a node that accepts and never answers, hold nobody up for long', async () => {
  const sockets: Socket[] = [];
  const silent: Server = createServer((socket) => {
    socket.on('error', () => undefined);
    sockets.push(socket);
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const ghost = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  try {
    const { nodes } = await start({
      size: 4,
      plain: true,
      change: (options) => ({
        ...options,
        members: {
          name: 'test',
          read: async (signal) => [...(await options.members.read(signal)), { id: ghost, zone: '' }],
        },
      }),
    });
    const [victim, ...others] = nodes;
    const dying = pull(victim!).catch(() => 'killed');
    const pulls = Promise.all(others.map(pull));
    await victim!.agent.close();
    expect(await pulls).toEqual([right(), right(), right()]);
    await dying;
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  }
});

it('a node that sends wrong bytes in the clear: the digest shows it, and the same pull ends well', async () => {
  const liar = http.createServer((request, response) => {
    request.resume();
    if (request.method === 'POST') {
      response.end(JSON.stringify({ members: [], holders: [[`127.0.0.1:${port()}`, '']], ttl: 60 }));
      return;
    }
    const index = Number(request.url!.split('/').at(-1));
    const bytes = Buffer.alloc(Math.min(2 * MIB, 5 * MIB + 1 - index * 2 * MIB), 'evil');
    response.writeHead(200, { 'content-length': bytes.length, 'x-accel-piece-size': bytes.length }).end(bytes);
  });
  const port = () => (liar.address() as AddressInfo).port;
  await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve));
  try {
    const { nodes } = await start({
      size: 1,
      plain: true,
      change: (options) => ({
        ...options,
        strict: true,
        members: staticMembers([options.self.id, `127.0.0.1:${port()}`]),
      }),
    });
    expect(await pull(nodes[0]!)).toBe(right());
    expect(await pull(nodes[0]!)).toBe(right());
  } finally {
    liar.closeAllConnections();
    await new Promise((resolve) => liar.close(resolve));
  }
});

it('a full disk: pieces are served from memory', async () => {
  const { nodes } = await start({
    size: 2,
    change: (options) => ({ ...options, store: { ...options.store, keepFree: 0.999999 } }),
  });
  expect(await Promise.all(nodes.map(pull))).toEqual([right(), right()]);
});

it('a zone that is down: the other one pulls', async () => {
  const { nodes } = await start({ size: 4, zone: (node) => (node < 2 ? 'a' : 'b') });
  await Promise.all(nodes.slice(2).map(({ agent }) => agent.close()));
  expect(await Promise.all(nodes.slice(0, 2).map(pull))).toEqual([right(), right()]);
});

it.each([429, 500, 503])(
  'a registry that answers %i: its status, and the right bytes when it is back',
  async (status) => {
    const { nodes } = await start({ size: 1 });
    registry.fail(status);
    expect(await pull(nodes[0]!)).toBe(status === 429 ? '429' : '502');
    registry.fail(undefined);
    expect(await pull(nodes[0]!)).toBe(right());
  },
);
