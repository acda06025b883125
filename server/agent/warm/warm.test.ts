/** Images are brought to nodes before anybody asks for them: once for all nodes, for callers who may read, behind everybody else. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../../demo/image-layout.ts';
import type { FleetProgress } from './prefetch-fleet.ts';

const PIECE = 2 ** 21;
const LOGIN = `Basic ${Buffer.from('ann:secret').toString('base64')}`;
let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
let cluster: Cluster | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-warm-'));
  image = await writeImageLayout(folder, [randomBytes(5 * PIECE + 1), randomBytes(3 * PIECE)]);
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(size: number, bytesPerSecond?: number): Promise<Cluster> {
  registry = await startDemoRegistry({
    layout: folder,
    login: 'ann:secret',
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
  });
  cluster = await startCluster({ size, upstreams: [{ host: registry.host, plain: true, http: {} }] });
  return cluster;
}

const everything = () =>
  image.layers.map(({ digest, size }) => ({ digest, size, pieces: [[0, Math.ceil(size / PIECE)]] }));
const sizeOfAll = () => image.layers.reduce((sum, { size }) => sum + size, 0);

function post(blobs: unknown, { query = '', node = 0, authorization = LOGIN } = {}): Promise<Response> {
  return fetch(`${cluster!.nodes[node]!.url}/api/v1/prefetch${query}`, {
    method: 'POST',
    headers: { authorization },
    body: JSON.stringify({ registry: registry.host, repository: 'team/app', blobs }),
  });
}

/** The progress when a prefetch has ended. */
async function ended(posted: Response): Promise<FleetProgress> {
  expect(posted.status).toBe(202);
  let progress = (await posted.json()) as FleetProgress;
  const url = posted.url.replace(/\?.*/, '');
  await expect
    .poll(
      async () => {
        progress = (await (await fetch(`${url}/${progress.id}`)).json()) as FleetProgress;
        return progress.state;
      },
      { interval: 50 },
    )
    .not.toBe('running');
  return progress;
}

async function pull(node: number, layer: number): Promise<string> {
  const url = `${cluster!.nodes[node]!.url}/v2/team/app/blobs/${image.layers[layer]!.digest}`;
  const got = await fetch(url, { headers: { authorization: LOGIN } });
  return `sha256:${createHash('sha256')
    .update(Buffer.from(await got.arrayBuffer()))
    .digest('hex')}`;
}

describe('a prefetch', () => {
  it('on all nodes costs the registry the image once, and later pulls nothing', async () => {
    await start(4);
    const progress = await ended(await post(everything(), { query: '?nodes=all' }));
    expect(progress.state).toBe('done');
    expect(progress.nodes).toHaveLength(4);
    for (const node of progress.nodes) {
      expect(node).toMatchObject({ state: 'done', pieces: { total: 9, done: 9, failed: 0 } });
      expect(node.bytes).toEqual({ total: sizeOfAll(), done: sizeOfAll() });
    }
    expect(registry.blobBytes()).toBe(sizeOfAll());
    for (const node of [0, 1, 2, 3]) expect(await pull(node, 0)).toBe(image.layers[0]!.digest);
    expect(registry.blobBytes()).toBe(sizeOfAll());
  });

  it('of some pieces brings those alone', async () => {
    await start(2);
    const [layer] = image.layers;
    const pieces = [
      [1, 2],
      [4, 6],
    ];
    const progress = await ended(await post([{ ...layer, pieces }]));
    expect(progress).toMatchObject({ state: 'done', nodes: [{ pieces: { total: 3, done: 3 } }] });
    expect(registry.blobBytes()).toBe(2 * PIECE + 1);
  });

  it('is refused to a caller whom the registry refuses, on every node, and takes no byte', async () => {
    await start(2);
    await pull(0, 0);
    const before = registry.blobBytes();
    const progress = await ended(await post(everything(), { query: '?nodes=all', authorization: 'Basic bm86bm8=' }));
    expect(progress.nodes.map(({ state, problem }) => [state, problem?.status])).toEqual([
      ['failed', 401],
      ['failed', 401],
    ]);
    expect(registry.blobBytes()).toBe(before);
  });

  it('reports a node that does not answer, and the others go on', async () => {
    await start(3);
    await cluster!.nodes[2]!.agent.close();
    const progress = await ended(await post(everything(), { query: '?nodes=all' }));
    expect(progress.state).toBe('failed');
    const states = Object.fromEntries(progress.nodes.map(({ node, state }) => [node, state]));
    expect(states).toEqual({
      [cluster!.nodes[0]!.id]: 'done',
      [cluster!.nodes[1]!.id]: 'done',
      [cluster!.nodes[2]!.id]: 'unreachable',
    });
  });

  it('pauses while a client pulls, and ends on request', async () => {
    image = await writeImageLayout(folder, [randomBytes(12 * PIECE), randomBytes(12 * PIECE)]);
    // Slow enough that the pull lasts for many pieces.
    await start(1, 16_000_000);
    const { id } = (await (await post([everything()[0]])).json()) as FleetProgress;
    const url = `${cluster!.nodes[0]!.url}/api/v1/prefetch/${id}`;
    const done = async () => ((await (await fetch(url)).json()) as FleetProgress).nodes[0]!.pieces.done;
    expect(await pull(0, 1)).toBe(image.layers[1]!.digest);
    // Two pieces were on their way.
    expect(await done()).toBeLessThanOrEqual(2);
    await expect.poll(done, { interval: 50 }).toBeGreaterThan(3);
    const stopped = (await (await fetch(url, { method: 'DELETE' })).json()) as FleetProgress;
    expect(stopped).toMatchObject({ state: 'cancelled', nodes: [{ pieces: { failed: 0 } }] });
    expect(stopped.nodes[0]!.pieces.done).toBeLessThan(12);
  });
});

describe('the API', () => {
  it.each<[string, unknown]>([
    ['no list', {}],
    ['an empty list', []],
    ['an invalid digest', [{ digest: 'sha256:zz', size: 1, pieces: [[0, 1]] }]],
    ['a piece beyond the blob', [{ digest: `sha256:${'a'.repeat(64)}`, size: PIECE, pieces: [[0, 2]] }]],
    [
      'ranges that overlap',
      [
        {
          digest: `sha256:${'a'.repeat(64)}`,
          size: 9 * PIECE,
          pieces: [
            [0, 2],
            [1, 3],
          ],
        },
      ],
    ],
    ['an empty range', [{ digest: `sha256:${'a'.repeat(64)}`, size: 9 * PIECE, pieces: [[2, 2]] }]],
    ['a size that is no number', [{ digest: `sha256:${'a'.repeat(64)}`, size: '9', pieces: [] }]],
  ])('400 for %s', async (_, blobs) => {
    await start(1);
    expect((await post(blobs)).status).toBe(400);
  });

  it('answers programs of this node alone, and knows its paths', async () => {
    await start(1);
    const { port } = new URL(cluster!.nodes[0]!.url);
    const status = (path: string, method: string, headers: Record<string, string>) =>
      new Promise<number | undefined>((resolve, reject) => {
        const request = http.request({ host: '127.0.0.1', port, path, method, headers }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        request.on('error', reject);
        request.end();
      });
    expect(await status('/api/v1/prefetch', 'POST', { host: 'attacker.example' })).toBe(403);
    expect(await status('/api/v1/prefetch', 'POST', { origin: 'http://attacker.example' })).toBe(403);
    expect(await status('/api/v1/prefetch', 'GET', {})).toBe(405);
    expect(await status('/api/v1/prefetch/x', 'GET', {})).toBe(404);
    expect(await status(`/api/v1/prefetch/${'0'.repeat(32)}`, 'GET', {})).toBe(404);
    expect(await status(`/api/v1/prefetch/${'0'.repeat(32)}`, 'PUT', {})).toBe(405);
  });
});
