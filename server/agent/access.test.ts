/** Whose bytes are whose: two users of one node, and a registry that changes its mind or does not answer. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';
import type { AccessTimes } from './access.ts';

const ALICE = { authorization: `Basic ${Buffer.from('alice:in').toString('base64')}` };
const MALLORY = { authorization: `Basic ${Buffer.from('mallory:out').toString('base64')}` };

let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
let cluster: Cluster;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-access-'));
  image = await writeImageLayout(folder, [randomBytes(100_000)]);
  registry = await startDemoRegistry({ layout: folder, login: 'alice:in' });
});
afterEach(async () => {
  await cluster.close();
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(access: AccessTimes, staleTags = false): Promise<void> {
  cluster = await startCluster({
    size: 1,
    upstreams: [{ host: registry.host, plain: true, http: {} }],
    change: (options) => ({ ...options, access, staleTags }),
  });
}

/** Statuses of the manifest by tag and by digest, of the layer, and of a device's read of it. */
async function statuses(headers: Record<string, string>): Promise<number[]> {
  const { digest } = image.layers[0]!;
  const base = `${cluster.nodes[0]!.url}/v2/team/app`;
  const paths = [
    `${base}/manifests/latest`,
    `${base}/manifests/${image.manifest}`,
    `${base}/blobs/${digest}`,
    `${cluster.nodes[0]!.url}/dadip2p/http://${registry.host}/v2/team/app/blobs/${digest}`,
  ];
  const found: number[] = [];
  for (const path of paths) {
    const got = await fetch(path, { headers });
    if (got.status >= 400) expect(await got.text()).not.toContain(image.manifest);
    else await got.arrayBuffer();
    found.push(got.status);
  }
  return found;
}

it('a user without rights gets nothing that another user has brought here, and learns how to log in', async () => {
  await start({ ttl: 300_000, grace: 300_000 });
  expect(await statuses(ALICE)).toEqual([200, 200, 200, 200]);
  expect(await statuses(MALLORY)).toEqual([401, 401, 401, 401]);
  expect(await statuses({})).toEqual([401, 401, 401, 401]);
  const refused = await fetch(`${cluster.nodes[0]!.url}/v2/team/app/blobs/${image.layers[0]!.digest}`);
  expect(refused.headers.get('www-authenticate')).toBe('Basic realm="demo"');
  expect(await refused.json()).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
  expect(await statuses(ALICE)).toEqual([200, 200, 200, 200]);
});

it('a revoked credential counts no longer than the time for it', async () => {
  await start({ ttl: 1, grace: 300_000 });
  expect(await statuses(ALICE)).toEqual([200, 200, 200, 200]);
  registry.setLogin('alice:new');
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await statuses(ALICE)).toEqual([401, 401, 401, 401]);
  // Having been refused, the caller has no grace either.
  registry.fail(503);
  expect(await statuses(ALICE)).not.toContain(200);
});

it('while the registry fails, those whom it let in lately go on, and nobody else', async () => {
  await start({ ttl: 1, grace: 300_000 }, true);
  expect(await statuses(ALICE)).toEqual([200, 200, 200, 200]);
  await new Promise((resolve) => setTimeout(resolve, 5));
  registry.fail(503);
  expect(await statuses(MALLORY)).not.toContain(200);
  expect(await statuses(ALICE)).toEqual([200, 200, 200, 200]);
});

it('without grace nobody reads while the registry fails', async () => {
  await start({ ttl: 1, grace: 1 });
  expect(await statuses(ALICE)).toEqual([200, 200, 200, 200]);
  await new Promise((resolve) => setTimeout(resolve, 5));
  registry.fail(503);
  expect((await statuses(ALICE)).every((status) => status >= 500)).toBe(true);
});

it('a tag comes from the registry alone unless stale ones are allowed', async () => {
  await start({ ttl: 300_000, grace: 300_000 });
  expect(await statuses(ALICE)).toEqual([200, 200, 200, 200]);
  registry.fail(503);
  expect(await statuses(ALICE)).toEqual([503, 200, 200, 200]);
});

it('the right to read one repository opens no other, though the digest is known and its bytes are here', async () => {
  const secret = randomBytes(5000);
  const digest = `sha256:${createHash('sha256').update(secret).digest('hex')}`;
  // A registry with two repositories: the blob is in one of them.
  const other = http.createServer((request, response) => {
    const authorization = request.headers.authorization ?? '';
    const isPrivate = request.url!.startsWith('/v2/private/');
    if (isPrivate ? authorization !== ALICE.authorization : authorization === '') {
      response.writeHead(401).end();
      return;
    }
    const isHere = isPrivate || !request.url!.includes(digest);
    response.writeHead(isHere ? 200 : 404, { 'content-length': secret.length });
    response.end(isHere ? secret : undefined);
  });
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(other.address() as AddressInfo).port}`;
  try {
    cluster = await startCluster({ size: 1, upstreams: [{ host, plain: true, http: {} }] });
    const read = async (repository: string, headers: Record<string, string>) => {
      const got = await fetch(`${cluster.nodes[0]!.url}/v2/${repository}/blobs/${digest}`, { headers });
      await got.arrayBuffer();
      return got.status;
    };
    expect(await read('private/app', ALICE)).toBe(200);
    // Mallory may read her own repository, and has done so.
    await (await fetch(`${cluster.nodes[0]!.url}/v2/mallory/app/manifests/x`, { headers: MALLORY })).arrayBuffer();
    expect(await read('mallory/app', MALLORY)).toBe(404);
    expect(await read('private/app', MALLORY)).toBe(401);
  } finally {
    other.closeAllConnections();
    await new Promise((resolve) => other.close(resolve));
  }
});
