/**
 * Agents beside other systems that share bytes. The dfdaemon here is scripted by the documentation and the source of its proxy
 * (dragonflyoss/client, dragonfly-client/src/proxy): registry mirror mode, X-Dragonfly headers, 206 with Content-Range.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { Dragonfly } from './pieces/dragonfly.ts';
import type { EngineName } from './pieces/piece-engine.ts';

const LOGIN = `Basic ${Buffer.from('ann:secret').toString('base64')}`;
let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
let cluster: Cluster | undefined;
let daemon: ScriptedDaemon;

/** The bytes of a blob's range, wherever dfdaemon got them. */
interface Part {
  readonly bytes: Buffer;
  readonly start: number;
  readonly size: number;
}
type Answer = (part: Part, request: IncomingMessage, response: ServerResponse) => void;

/** Answers as a healthy dfdaemon does. */
const well: Answer = ({ bytes, start, size }, _, response) => {
  response
    .writeHead(206, {
      'content-length': bytes.length,
      'content-range': `bytes ${start}-${start + bytes.length - 1}/${size}`,
      'x-dragonfly-task-id': 'f'.repeat(64),
      'x-dragonfly-server-ip': '127.0.0.1',
    })
    .end(bytes);
};

class ScriptedDaemon {
  answer: Answer = well;
  readonly requests: http.IncomingHttpHeaders[] = [];
  readonly #tasks = new Map<string, Promise<Buffer | number>>();
  readonly #server = http.createServer((request, response) => void this.#handle(request, response));

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get address() {
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port };
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests.push(request.headers);
    const { headers, url = '' } = request;
    // Without these it is no request of a mirror's client, or is not shared.
    if (headers['x-dragonfly-registry'] === undefined || headers['x-dragonfly-use-p2p'] !== 'true')
      return void response.writeHead(500, { 'x-dragonfly-error-type': 'proxy' }).end();
    const key = headers['x-dragonfly-enable-task-id-based-blob-digest'] === 'true' ? url.replace(/.*\//, '') : url;
    let task = this.#tasks.get(key);
    if (task === undefined) {
      task = this.#download(`${headers['x-dragonfly-registry']}${url}`, headers.authorization);
      this.#tasks.set(key, task);
    }
    const whole = await task;
    if (typeof whole === 'number') {
      this.#tasks.delete(key);
      return void response.writeHead(whole, { 'x-dragonfly-error-type': 'backend' }).end();
    }
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '')!;
    const part = { bytes: whole.subarray(Number(from), Number(to) + 1), start: Number(from), size: whole.length };
    this.answer(part, request, response);
  }

  async #download(url: string, authorization: string | undefined): Promise<Buffer | number> {
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    const got = await fetch(url, { headers }).catch(() => undefined);
    return got?.status === 200 ? Buffer.from(await got.arrayBuffer()) : (got?.status ?? 502);
  }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-engines-'));
  image = await writeImageLayout(folder, [randomBytes(2_500_001)], { pieceLists: true });
  registry = await startDemoRegistry({ layout: folder, login: 'ann:secret' });
  daemon = await new ScriptedDaemon().start();
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  await daemon.stop();
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

const metrics: AgentMetrics[] = [];
async function start(size: number, engine: EngineName, dragonfly = daemon.address): Promise<Cluster> {
  metrics.length = 0;
  cluster = await startCluster({
    size,
    upstreams: [{ host: registry.host, plain: true, http: {} }],
    change: (options) => {
      metrics.push(options.metrics);
      return { ...options, engine, dragonfly };
    },
  });
  return cluster;
}

async function pull({ url }: { readonly url: string }, authorization = LOGIN): Promise<string> {
  // The manifest names the piece lists.
  await (await fetch(`${url}/v2/team/app/manifests/latest`, { headers: { authorization } })).arrayBuffer();
  const got = await fetch(`${url}/v2/team/app/blobs/${image.layers[0]!.digest}`, { headers: { authorization } });
  if (got.status !== 200) return String(got.status);
  return `sha256:${createHash('sha256')
    .update(Buffer.from(await got.arrayBuffer()))
    .digest('hex')}`;
}

const right = () => image.layers[0]!.digest;
async function total(name: 'fromEngine' | 'fromPeers', label?: string): Promise<number> {
  let sum = 0;
  for (const one of metrics)
    for (const { value, labels } of (await one[name].get()).values)
      if (label === undefined || Object.values(labels).includes(label)) sum += value;
  return sum;
}

it('dragonfly: dfdaemon gives every piece, the agents none to each other, and callers are checked all the same', async () => {
  const { nodes } = await start(3, 'dragonfly');
  expect(await Promise.all(nodes.map((node) => pull(node)))).toEqual([right(), right(), right()]);
  const { size } = image.layers[0]!;
  // The layer once, by dfdaemon, and the list of its pieces.
  expect(registry.blobBytes()).toBeGreaterThanOrEqual(size);
  expect(registry.blobBytes()).toBeLessThan(size + 3 * 1024);
  expect(await total('fromPeers')).toBe(0);
  expect(await total('fromEngine')).toBeGreaterThanOrEqual(3 * size);
  const { bytes, images } = await nodes[0]!.agent.report();
  expect(bytes.fromEngine).toBeGreaterThanOrEqual(size);
  expect(images.map(({ fromEngine }) => fromEngine)).toEqual([bytes.fromEngine]);
  // It counts what dfdaemon gives and what the client reads.
  expect(metrics[0]!.activity.figures('http').total).toBeGreaterThanOrEqual(2 * size);
  expect(daemon.requests.every(({ authorization }) => authorization === LOGIN)).toBe(true);
  // dfdaemon would give its copy to anybody; the agent asks the registry about the caller.
  expect(await pull(nodes[0]!, 'Basic bm9ib2R5OndoYXQ=')).toBe('401');
});

it.each<[string, Answer]>([
  ['fails', (_, __, response) => response.writeHead(500, { 'x-dragonfly-error-type': 'dfdaemon' }).end()],
  ['limits requests', (_, __, response) => response.writeHead(429, { 'x-dragonfly-error-type': 'proxy' }).end()],
  ['reports the registry', (_, __, response) => response.writeHead(502, { 'x-dragonfly-error-type': 'backend' }).end()],
  ['ignores the range', ({ bytes }, _, response) => response.writeHead(200).end(bytes)],
  [
    'gives another range',
    ({ bytes, size }, _, response) =>
      response.writeHead(206, { 'content-range': `bytes 1-${bytes.length}/${size}` }).end(bytes),
  ],
  ['ends early', (part, request, response) => well({ ...part, bytes: part.bytes }, request, cut(response))],
  ['breaks the connection', (_, request) => request.socket.destroy()],
  ['gives wrong bytes', (part, request, response) => well({ ...part, bytes: flipped(part.bytes) }, request, response)],
])('dragonfly: a dfdaemon that %s costs a request to the registry and nothing else', async (_, answer) => {
  daemon.answer = answer;
  const { nodes } = await start(1, 'dragonfly');
  expect(await pull(nodes[0]!)).toBe(right());
  // The list's bytes pass, as nothing is known of them before its digest is.
  expect(await total('fromEngine')).toBeLessThan(200);
});

it('dragonfly: a dfdaemon that is not there is left alone for a while', async () => {
  const { address } = daemon;
  await daemon.stop();
  const engine = new Dragonfly(address);
  const { digest, size } = image.layers[0]!;
  const blob = { digest, size, url: new URL(`http://${registry.host}/v2/team/app/blobs/${digest}`) };
  expect(await engine.piece(blob, 0, undefined)).toEqual({ kind: 'none', reason: 'unreachable' });
  expect(await engine.piece(blob, 0, undefined)).toEqual({ kind: 'none', reason: 'resting' });
  engine.close();
  const { nodes } = await start(1, 'dragonfly', address);
  expect(await pull(nodes[0]!)).toBe(right());
  daemon = await new ScriptedDaemon().start();
});

it('dragonfly: wrong bytes of a blob without a list show at its end, and the next pull is the registry’s', async () => {
  await registry.close();
  await rm(folder, { recursive: true, force: true });
  image = await writeImageLayout(folder, [randomBytes(3_000_000)]);
  registry = await startDemoRegistry({ layout: folder, login: 'ann:secret' });
  daemon.answer = (part, request, response) => well({ ...part, bytes: flipped(part.bytes) }, request, response);
  const { nodes } = await start(1, 'dragonfly');
  await expect(pull(nodes[0]!)).rejects.toThrow();
  expect(await pull(nodes[0]!)).toBe(right());
});

it('dragonfly: a dfdaemon that accepts and says nothing is left after its deadline', async () => {
  daemon.answer = () => undefined;
  const engine = new Dragonfly(daemon.address, { connect: 200, firstByte: 50, stall: 50, rest: 0 });
  const { digest, size } = image.layers[0]!;
  const url = new URL(`http://${registry.host}/v2/team/app/blobs/${digest}`);
  const blob = { digest, size, url, authorization: LOGIN };
  expect(await engine.piece(blob, 0, undefined)).toEqual({ kind: 'none', reason: 'timeout' });
  const gone = new AbortController();
  const left = engine.piece(blob, 0, gone.signal);
  gone.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  engine.close();
});

it.each(['none', 'spegel'] as const)('%s: each agent asks the registry itself, once', async (name) => {
  const { nodes } = await start(2, name);
  expect(await Promise.all(nodes.map((node) => pull(node)))).toEqual([right(), right()]);
  const { size } = image.layers[0]!;
  const before = registry.blobBytes();
  expect(before).toBeGreaterThanOrEqual(2 * size);
  expect(before).toBeLessThan(2 * size + 3 * 1024);
  expect(await total('fromPeers')).toBe(0);
  expect(await pull(nodes[0]!)).toBe(right());
  expect(registry.blobBytes()).toBe(before);
  expect(daemon.requests).toEqual([]);
});

/** A response that loses its last byte. */
function cut(response: ServerResponse): ServerResponse {
  const end = response.end.bind(response);
  response.end = ((bytes: Buffer) => {
    response.write(bytes.subarray(0, bytes.length - 1));
    setTimeout(() => response.socket?.destroy(), 5);
    return response;
  }) as typeof end;
  return response;
}

function flipped(bytes: Buffer): Buffer {
  const wrong = Buffer.from(bytes);
  wrong[wrong.length - 1]! ^= 1;
  return wrong;
}
