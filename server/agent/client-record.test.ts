/** Requests in the audit log: one line each with the place that was asked for and nothing secret; those that fail have a size of -1. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';
import { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { AuditLog } from '../telemetry/audit-log.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { unknownPathname } from './client-record.ts';

const ABSENT = `sha256:${'a'.repeat(64)}`;
/** A registry that does not resolve (RFC 6761). */
const NOWHERE = 'registry.invalid';
const SECRET = 'sig=SECRET';
let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
let locked: DemoRegistry;
let cluster: Cluster;
let log: AuditLog;
/** Says that a blob has two pieces and a half, and breaks the connection after the first. */
let broken: http.Server;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-record-'));
  image = await writeImageLayout(folder, [randomBytes(10_000)]);
  registry = await startDemoRegistry({ layout: folder });
  locked = await startDemoRegistry({ layout: folder, login: 'user:password' });
  broken = http.createServer((request, response) => {
    const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (request.method === 'HEAD') return void response.writeHead(200, { 'content-length': 5_000_000 }).end();
    if (start > 0) return void response.destroy();
    response
      .writeHead(206, { 'content-length': 2_097_152, 'content-range': 'bytes 0-2097151/5000000' })
      .end(Buffer.alloc(2_097_152));
  });
  broken.listen(0, '127.0.0.1');
  await once(broken, 'listening');
  const metrics = new AgentMetrics(createMetrics('agent'));
  const unheard = { onDropped: () => undefined, onProblem: () => undefined };
  log = new AuditLog({ mode: 'file', path: join(folder, 'audit.log'), rotateAt: 1e9, keep: 1 }, unheard);
  metrics.activity.audit(log);
  const plain = [registry.host, locked.host, brokenHost()].map((host) => ({ host, plain: true, http: {} }));
  cluster = await startCluster({
    size: 1,
    plain: true,
    upstreams: [...plain, { host: NOWHERE, plain: false, http: {} }],
    change: (options) => ({ ...options, metrics }),
  });
});
afterAll(async () => {
  await cluster.close();
  await log.close();
  await Promise.all([registry.close(), locked.close()]);
  broken.closeAllConnections();
  broken.close();
  await rm(folder, { recursive: true, force: true });
});

const brokenHost = () => `127.0.0.1:${(broken.address() as AddressInfo).port}`;

/** The lines of a request that has ended, without the time of day, the thread and the latency, which is checked. */
async function linesOf(ask: () => Promise<unknown>): Promise<string[]> {
  const read = () => readFile(join(folder, 'audit.log'), 'utf8').catch(() => '');
  const before = await read();
  const started = performance.now();
  await ask();
  const added = async () => {
    await log.flushed();
    return (await read()).slice(before.length);
  };
  await expect.poll(added).not.toBe('');
  const text = await added();
  const most = Math.ceil((performance.now() - started) * 1000);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const parts = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d\|AUDIT\|th=[0-9A-F]{16}\|(.+)\[latency=(\d+)\]$/.exec(line);
      expect(Number(parts?.[2])).toBeLessThanOrEqual(most);
      return parts?.[1] ?? line;
    });
}

const get = async (path: string, init: RequestInit = {}): Promise<number> => {
  const response = await fetch(`${cluster.nodes[0]!.url}${path}`, init);
  await response.arrayBuffer();
  return response.status;
};

const line = (operation: string, place: string, offset = 0) => [
  `${operation}[pathname=/${place}][offset=${offset}][size=-1]`,
];

it.each<[string, () => string, number, () => string]>([
  [
    'a tag of a registry that does not resolve',
    () => `/v2/a/b/manifests/1?ns=${NOWHERE}`,
    504,
    () => `https://${NOWHERE}/v2/a/b/manifests/1`,
  ],
  [
    'a manifest of it',
    () => `/v2/a/b/manifests/${ABSENT}?ns=${NOWHERE}`,
    504,
    () => `https://${NOWHERE}/v2/a/b/manifests/${ABSENT}`,
  ],
  [
    'a blob of it',
    () => `/v2/a/b/blobs/${ABSENT}?ns=${NOWHERE}&${SECRET}`,
    502,
    () => `https://${NOWHERE}/v2/a/b/blobs/${ABSENT}`,
  ],
  [
    'the same, asked by a device',
    () => `/dadip2p/https://${NOWHERE}/v2/a/b/blobs/${ABSENT}?${SECRET}`,
    502,
    () => `https://${NOWHERE}/v2/a/b/blobs/${ABSENT}`,
  ],
  [
    'its referrers',
    () => `/v2/a/b/referrers/${ABSENT}?ns=${NOWHERE}`,
    504,
    () => `https://${NOWHERE}/v2/a/b/referrers/${ABSENT}`,
  ],
  ['its login', () => `/v2/?ns=${NOWHERE}`, 504, () => `https://${NOWHERE}/v2/`],
  [
    'a registry that is not configured',
    () => `/v2/a/b/manifests/1?ns=other.example&${SECRET}`,
    404,
    () => 'https://other.example/v2/a/b/manifests/1',
  ],
  [
    'the same, asked by a device',
    () => `/dadip2p/https://u:SECRET@other.example/v2/a/blobs/${ABSENT}?${SECRET}`,
    403,
    () => `https://other.example/v2/a/blobs/${ABSENT}`,
  ],
  [
    'a tag that is not there',
    () => `/v2/a/b/manifests/no?ns=${registry.host}`,
    404,
    () => `http://${registry.host}/v2/a/b/manifests/no`,
  ],
  [
    'a blob that is not there',
    () => `/v2/a/b/blobs/${ABSENT}?ns=${registry.host}`,
    404,
    () => `http://${registry.host}/v2/a/b/blobs/${ABSENT}`,
  ],
  [
    'a manifest without a credential',
    () => `/v2/a/b/manifests/1?ns=${locked.host}`,
    401,
    () => `http://${locked.host}/v2/a/b/manifests/1`,
  ],
  [
    'a blob without a credential',
    () => `/v2/a/b/blobs/${image.layers[0]!.digest}?ns=${locked.host}`,
    401,
    () => `http://${locked.host}/v2/a/b/blobs/${image.layers[0]!.digest}`,
  ],
  ['no whole URL', () => `/dadip2p/u:SECRET@${NOWHERE}/v2/a/blobs/${ABSENT}`, 400, () => 'dadip2p'],
  ['no such path', () => '/v2/u:SECRET@x/http%3A%2F%2Fx%3Fsig%3DSECRET', 404, () => 'v2/'],
])('%s', async (_, path, status, place) => {
  expect(await linesOf(async () => expect(await get(path())).toBe(status))).toEqual(line('http:pread', place()));
  expect(await readFile(join(folder, 'audit.log'), 'utf8')).not.toContain('SECRET');
});

it('a range outside of the blob, a method that is none of a reader, HEAD', async () => {
  const place = `http://${registry.host}/v2/a/blobs/${image.layers[0]!.digest}`;
  const path = `/v2/a/blobs/${image.layers[0]!.digest}?ns=${registry.host}`;
  const asked = async (init: RequestInit, status: number) =>
    linesOf(async () => expect(await get(path, init)).toBe(status));
  expect(await asked({ headers: { range: 'bytes=90000-' } }, 416)).toEqual(line('http:pread', place));
  expect(await asked({ method: 'DELETE' }, 405)).toEqual(
    line('http:pread', `https://${registry.host}/v2/a/blobs/${image.layers[0]!.digest}`),
  );
  const head = `/v2/a/blobs/${ABSENT}?ns=${registry.host}`;
  expect(await linesOf(async () => expect(await get(head, { method: 'HEAD' })).toBe(404))).toEqual(
    line('http:pread', `http://${registry.host}/v2/a/blobs/${ABSENT}`),
  );
});

it('a body that breaks off, with the offset and the piece that failed', async () => {
  const digest = `sha256:${'b'.repeat(64)}`;
  const place = `http://${brokenHost()}/v2/a/blobs/${digest}`;
  const lines = await linesOf(() =>
    expect(get(`/v2/a/blobs/${digest}?ns=${brokenHost()}`, { headers: { range: 'bytes=100-' } })).rejects.toThrow(),
  );
  expect(lines).toContain(`http:pread[pathname=/${place}][offset=100][size=-1]`);
  expect(lines).toContain(`download[pathname=/${place}][offset=2097152][size=-1]`);
  expect(lines.filter((one) => one.startsWith('http:pread'))).toHaveLength(1);
});

it('a piece that another agent cannot have', async () => {
  const digest = `sha256:${'c'.repeat(64)}`;
  const place = `https://${NOWHERE}/v2/a/blobs/${digest}`;
  const ask = async () => {
    const got = await fetch(`http://${cluster.nodes[0]!.id}/p2p/v1/blobs/${digest}/pieces/1`, {
      headers: {
        'x-accel-node': '10.0.0.9:1',
        'x-accel-role': 'owner',
        'x-accel-size': '5000000',
        'x-accel-origin': `${place}?${SECRET}`,
      },
    });
    expect(got.status).toBe(502);
  };
  expect(await linesOf(ask)).toEqual([...line('download', place, 2_097_152), ...line('rpc:pread', place, 2_097_152)]);
});

it('a manifest by tag, and by digest from memory', async () => {
  const at = (path: string) => `http://${registry.host}/v2/a/${path}`;
  const read = (path: string) => linesOf(async () => expect(await get(`/v2/a/${path}?ns=${registry.host}`)).toBe(200));
  const { length } = await readFile(join(folder, 'blobs', image.manifest.replace(':', '/')));
  const whole = (operation: string, path: string) => `${operation}[pathname=/${at(path)}][offset=0][size=${length}]`;
  const [tag, byDigest] = ['manifests/latest', `manifests/${image.manifest}`];
  expect(await read(tag)).toEqual([whole('download', tag), whole('http:pread', tag)]);
  expect(await read(byDigest)).toEqual([whole('http:pread', byDigest)]);
});

it('a blob of another digest, which is passed on', async () => {
  const path = `blobs/sha512:${'d'.repeat(128)}`;
  const place = `http://${brokenHost()}/v2/a/${path}`;
  const lines = await linesOf(async () =>
    expect(await get(`/v2/a/${path}?ns=${brokenHost()}`, { headers: { range: 'bytes=0-' } })).toBe(206),
  );
  expect(lines).toEqual([`http:pread[pathname=/${place}][offset=0][size=2097152]`]);
});

it('requests that succeed, and the question how to log in, leave no failure', async () => {
  const path = `/v2/a/blobs/${image.layers[0]!.digest}?ns=${registry.host}`;
  const lines = await linesOf(async () => {
    expect(await get(`/v2/?ns=${locked.host}`)).toBe(401);
    expect(await get(`/v2/?ns=${registry.host}`)).toBe(200);
    expect(await get(path, { method: 'HEAD' })).toBe(200);
    expect(await get(`/v2/a/manifests/latest?ns=${registry.host}`, { method: 'HEAD' })).toBe(200);
    expect(await get(path)).toBe(200);
  });
  expect(lines.filter((one) => one.endsWith('[size=-1]'))).toEqual([]);
  const place = `http://${registry.host}/v2/a/blobs/${image.layers[0]!.digest}`;
  expect(lines.filter((one) => one.startsWith('http:'))).toEqual([
    `http:pread[pathname=/${place}][offset=0][size=10000]`,
  ]);
});

it.each([
  ['/v2/a/manifests/1?ns=h.example:5000', 'https://h.example:5000/v2/a/manifests/1'],
  ['/v2/a/manifests/1?ns=u:p@h.example', '/v2/a/manifests/1'],
  ['/v2/a/manifests/1', '/v2/a/manifests/1'],
  ['http://u:p@h.example/v2/a', '/v2/'],
  ['/v2/a%2Fb?ns=h.example', '/v2/'],
  ['/v2x', '/v2/'],
])('what may be written down of %s', (url, expected) => {
  expect(unknownPathname(url)).toBe(expected);
});
