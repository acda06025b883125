/** Someone owns a node of the network, or a client of one: what he cannot read, change or stop. SECURITY.md has the answers. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Cluster, type ClusterOptions, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';
import { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { drained } from './drained.ts';
import { blobKey, createMembers, owners, trackers } from './peers/topology.ts';

const MIB = 2 ** 20;
const LOGIN = 'alice:pass-word-of-alice';
const ALICE = { authorization: `Basic ${Buffer.from(LOGIN).toString('base64')}` };

let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
let cluster: Cluster | undefined;
const servers: http.Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-attacks-'));
  image = await writeImageLayout(folder, [randomBytes(13 * MIB + 1)]);
  registry = await startDemoRegistry({ layout: folder, login: LOGIN });
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  await registry.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await rm(folder, { recursive: true, force: true });
});

const layer = () => image.layers[0]!;

async function start(options: Partial<ClusterOptions> = {}): Promise<string> {
  const upstreams = [{ host: registry.host, plain: true, http: {} }];
  cluster = await startCluster({ size: 1, plain: true, upstreams, ...options });
  return cluster.nodes[0]!.url;
}

/** A server on loopback; its `host:port`. */
async function serve(listener: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = http.createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function pull(url: string, headers: Record<string, string> = ALICE): Promise<string> {
  const got = await fetch(`${url}/v2/team/app/blobs/${layer().digest}`, { headers });
  if (got.status !== 200) return String(got.status);
  return `sha256:${createHash('sha256')
    .update(Buffer.from(await got.arrayBuffer()))
    .digest('hex')}`;
}

describe('a node that belongs to someone else', () => {
  it.each([404, 409, 421, 500, 502, 503])(
    'that answers %i hears a credential only for pieces that it owns, and leads nobody out of the network',
    async (status) => {
      let heardOutside = 0;
      const outsider = await serve((_, response) => {
        heardOutside += 1;
        response.writeHead(404).end();
      });
      const heard: { readonly index: number; readonly to: string; readonly headers: IncomingHttpHeaders }[] = [];
      const liars: string[] = [];
      for (let count = 0; count < 6; count++) {
        const self = await serve((request, response) => {
          request.resume();
          if (request.method === 'POST') {
            expect(request.headers.authorization).toBeUndefined();
            // As holders: itself, and an address that is of no member.
            const others = [...liars, outsider].map((id) => [id, '']);
            response.end(JSON.stringify({ members: others, holders: others, ttl: 60 }));
            return;
          }
          heard.push({ index: Number(request.url!.split('/').at(-1)), to: self, headers: request.headers });
          response.writeHead(status, { 'x-accel-origin-status': '500', 'retry-after-ms': '1' }).end();
        });
        liars.push(self);
      }
      let own = '';
      const url = await start({
        change: (options) => {
          own = options.self.id;
          const members = [own, ...liars].map((id) => ({ id, zone: '' }));
          return { ...options, members: { name: 'test', read: async () => members } };
        },
      });
      expect(await pull(url)).toBe(layer().digest);
      expect(heardOutside).toBe(0);
      expect(heard.length).toBeGreaterThan(0);
      const members = createMembers([own, ...liars].map((id) => ({ id, zone: '' })));
      for (const { index, to, headers } of heard) {
        const isOwner = owners(members, blobKey(layer().digest), index).some(({ id }) => id === to);
        if (headers['x-accel-role'] === 'owner') expect(isOwner).toBe(true);
        else expect([headers['x-accel-origin'], headers['x-accel-authorization']]).toEqual([undefined, undefined]);
        expect(headers.authorization).toBeUndefined();
      }
    },
  );

  const ask = (peer: string, path: string, headers: Record<string, string>) =>
    fetch(`http://${peer}${path}`, { headers: { 'x-accel-node': '10.0.0.9:1', ...headers } });

  it('makes no other ask a host that is not configured', async () => {
    let heard = 0;
    const bystander = await serve((_, response) => {
      heard += 1;
      response.end('secret');
    });
    await start();
    const { digest } = layer();
    for (const host of [bystander, '169.254.169.254', 'localhost:1', '[::1]:1', `user:x@${registry.host}`]) {
      const got = await ask(cluster!.nodes[0]!.id, `/p2p/v1/blobs/${digest}/pieces/0`, {
        'x-accel-role': 'owner',
        'x-accel-size': '100',
        'x-accel-origin': `http://${host}/v2/a/blobs/${digest}`,
      });
      expect([got.status, got.headers.get('x-accel-origin-status')]).toEqual([502, '403']);
    }
    expect(heard).toBe(0);
  });

  it.each([
    ['a place that has not got it', 'evil', 0],
    ['a size of its own making', 'a', 1_000_000_000],
  ])('fails no pull by asking at the same time for %s', async (_, repository, more) => {
    const content = randomBytes(100_000);
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    let asked: () => void = () => undefined;
    const askedOnce = new Promise<void>((resolve) => (asked = resolve));
    let first = true;
    const origin = await serve((request, response) => {
      if (request.method === 'HEAD') return void response.writeHead(200, { 'content-length': content.length }).end();
      const isFirst = first;
      first = false;
      asked();
      const answer = () =>
        request.url!.includes('evil')
          ? response.writeHead(404).end()
          : response.writeHead(200, { 'content-length': content.length }).end(content);
      // Only when the pull waits for the same piece.
      setTimeout(answer, isFirst ? 500 : 0);
    });
    const url = await start({ upstreams: [{ host: origin, plain: true, http: {} }] });
    const bad = ask(cluster!.nodes[0]!.id, `/p2p/v1/blobs/${digest}/pieces/0`, {
      'x-accel-role': 'owner',
      'x-accel-size': String(content.length + more),
      'x-accel-origin': `http://${origin}/v2/${repository}/blobs/${digest}`,
    });
    await askedOnce;
    const got = await fetch(`${url}/v2/a/blobs/${digest}`);
    expect(got.status).toBe(200);
    expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
    expect((await bad).status).toBe(502);
  });

  it('does not spoil what is stored by a size of its own making', async () => {
    const content = randomBytes(3 * MIB);
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    // It knows no ranges, and does not say how long it is.
    const origin = await serve((request, response) => {
      if (request.method === 'HEAD') response.writeHead(200, { 'content-length': content.length }).end();
      else response.writeHead(200).end(content);
    });
    const url = await start({ upstreams: [{ host: origin, plain: true, http: {} }] });
    await ask(cluster!.nodes[0]!.id, `/p2p/v1/blobs/${digest}/pieces/1`, {
      'x-accel-role': 'owner',
      'x-accel-size': String(2 * MIB + 10),
      'x-accel-origin': `http://${origin}/v2/a/blobs/${digest}`,
    }).then((got) => got.arrayBuffer());
    const got = Buffer.from(await (await fetch(`${url}/v2/a/blobs/${digest}`)).arrayBuffer());
    expect(got.equals(content)).toBe(true);
  });
});

/** The answer to raw bytes, until the connection ends. */
function raw(url: string, text: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text));
  let got = '';
  socket.on('data', (bytes) => (got += bytes.toString('latin1')));
  socket.on('error', () => undefined);
  return new Promise((resolve) => socket.once('close', () => resolve(got)));
}

describe('a client that means ill', () => {
  it.each([
    ['headers that are too large', `GET /v2/ HTTP/1.1\r\nhost: a\r\nauthorization: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['two lengths', 'GET /v2/ HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab', 400],
    [
      'a length and chunks',
      'POST /v2/ HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['a space in a name', 'GET /v2/ HTTP/1.1\r\nhost : a\r\n\r\n', 400],
  ])('gets an error in the registry\u2019s form: %s', async (_, text, status) => {
    const [head = '', body = ''] = (await raw(await start(), text)).split('\r\n\r\n', 2);
    expect(head.split('\r\n')[0]).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(JSON.parse(body)).toMatchObject({ errors: [{ message: expect.any(String) }] });
  });

  it('gets no second answer into the middle of one', async () => {
    const path = `/v2/team/app/blobs/${layer().digest}`;
    const get = `GET ${path} HTTP/1.1\r\nhost: a\r\nauthorization: ${ALICE.authorization}\r\n\r\n`;
    expect(await raw(await start(), `${get}no HTTP\r\n\r\n`)).not.toContain('NAME_INVALID');
  });

  it('with an If-Range of something else gets the whole', async () => {
    const url = await start();
    const get = (tag: string) =>
      fetch(`${url}/v2/team/app/blobs/${layer().digest}`, {
        headers: { ...ALICE, range: 'bytes=1-2', 'if-range': tag },
      });
    const whole = await get('"other"');
    expect([whole.status, (await whole.arrayBuffer()).byteLength]).toEqual([200, layer().size]);
    const part = await get(whole.headers.get('etag')!);
    expect([part.status, (await part.arrayBuffer()).byteLength]).toEqual([206, 2]);
  });

  it('with headers without end, or with none, is cut off, and the others are served', async () => {
    const url = await start();
    const ended = [
      raw(url, 'GET /v2/ HTTP/1.1\r\n'),
      raw(url, ''),
      raw(url, `GET / HTTP/1.1\r\nx: ${'x'.repeat(100_000)}`),
    ];
    expect(await pull(url)).toBe(layer().digest);
    const [slow, , large] = await Promise.all(ended);
    expect([slow, large]).toEqual([expect.stringContaining(' 408 '), expect.stringContaining(' 431 ')]);
  });

  it('that takes no byte is cut off when its time is up', async () => {
    const response = new Promise<ServerResponse>((resolve) => {
      void serve((_, answer) => {
        while (answer.write(Buffer.alloc(MIB)));
        resolve(answer);
      }).then((host) => {
        const socket = connect(Number(host.split(':')[1]), '127.0.0.1', () =>
          socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
        );
        socket.pause();
      });
    });
    await drained(await response, 20);
    expect((await response).destroyed).toBe(true);
  });

  it('that takes no byte holds nobody else up', async () => {
    const url = await start();
    const stalled = http.get(`${url}/v2/team/app/blobs/${layer().digest}`, { headers: ALICE });
    const [response] = (await once(stalled, 'response')) as [IncomingMessage];
    response.pause();
    expect(await pull(url)).toBe(layer().digest);
    stalled.destroy();
  });
});

it('a credential that has lost its right does not fail the pull of one that has it', async () => {
  const content = randomBytes(100_000);
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
  let asked: () => void = () => undefined;
  const askedOnce = new Promise<void>((resolve) => (asked = resolve));
  const origin = await serve((request, response) => {
    if (request.method === 'HEAD') return void response.writeHead(200, { 'content-length': content.length }).end();
    if (request.headers.authorization !== 'Bearer new') {
      asked();
      // Refused only when the other pull waits for the same piece.
      setTimeout(() => response.writeHead(401).end(), 300);
      return;
    }
    const range = `bytes 0-${content.length - 1}/${content.length}`;
    response.writeHead(206, { 'content-range': range, 'content-length': content.length }).end(content);
  });
  const url = await start({ upstreams: [{ host: origin, plain: true, http: {} }] });
  const get = (token: string) =>
    fetch(`${url}/v2/a/blobs/${digest}`, { headers: { authorization: `Bearer ${token}` } });
  const old = get('old');
  await askedOnce;
  const fresh = await get('new');
  expect(Buffer.from(await fresh.arrayBuffer()).equals(content)).toBe(true);
  expect((await old).status).toBe(401);
});

it('no secret reaches a log, a metric or an error', async () => {
  const metrics = createMetrics('agent');
  const lines: string[] = [];
  const texts: string[] = [];
  const url = await start({
    change: (options) => ({ ...options, metrics: new AgentMetrics(metrics), log: (line) => void lines.push(line) }),
  });
  const secrets = [
    'pass-word-of-alice',
    ALICE.authorization.slice(6),
    'signature-in-query',
    'user-info-word',
    'bearer-word',
  ];
  const block = `${url}/dadip2p/http://`;
  const path = `/v2/team/app/blobs/${layer().digest}`;
  const asked: [string, Record<string, string>][] = [
    [`${url}${path}`, ALICE],
    [`${url}${path}?sig=signature-in-query`, { authorization: 'Bearer bearer-word' }],
    [`${url}/v2/team/app/manifests/latest`, { authorization: 'Bearer bearer-word' }],
    [`${block}${registry.host}${path}?sig=signature-in-query`, ALICE],
    [`${block}${registry.host}${path}?sig=signature-in-query`, { authorization: 'Bearer bearer-word' }],
    [`${block}alice:user-info-word@${registry.host}${path}`, ALICE],
    [`${block}other.example${path}?sig=signature-in-query`, ALICE],
  ];
  for (const broken of [undefined, 500]) {
    registry.fail(broken);
    for (const [target, headers] of asked) {
      const got = await fetch(target, { headers });
      texts.push(JSON.stringify([...got.headers]));
      if (got.status >= 400) texts.push(await got.text());
      else await got.arrayBuffer();
    }
  }
  texts.push(...lines, await metrics.registry.metrics());
  expect(texts.join('\n')).toContain('accel_agent_client_requests_total');
  for (const secret of secrets) expect(texts.join('\n')).not.toContain(secret);
});

describe('swarms', () => {
  /** Nodes that want the layer, by the word of a tracker. */
  async function wanting(tracker: string): Promise<string[]> {
    const got = await fetch(`http://${tracker}/p2p/v1/swarm/${layer().digest}`, {
      method: 'POST',
      headers: { 'x-accel-node': '10.0.0.9:1' },
      body: JSON.stringify({ id: '10.0.0.9:1', zone: '', view: '', leaving: true }),
    });
    return ((await got.json()) as { members: [string, string][] }).members.map(([id]) => id);
  }

  it('a read of a device joins after its fourth piece, and a node that stops leaves', async () => {
    await start({ size: 2 });
    const ids = cluster!.nodes.map(({ id }) => ({ id, zone: '' }));
    // The first tracker of the blob is the other node: the reader's own would answer it without a word on the wire.
    const [tracker] = trackers(createMembers(ids), blobKey(layer().digest));
    const other = cluster!.nodes.find(({ id }) => id === tracker!.id);
    const reader = cluster!.nodes.find((node) => node !== other);
    const { url } = reader!;
    const read = async (piece: number) => {
      const range = { range: `bytes=${piece * 2 * MIB}-${piece * 2 * MIB + 1000}` };
      const target = `${url}/dadip2p/http://${registry.host}/v2/team/app/blobs/${layer().digest}`;
      const got = await fetch(target, { headers: { ...ALICE, ...range } });
      expect([got.status, (await got.arrayBuffer()).byteLength]).toEqual([206, 1001]);
    };
    for (const piece of [0, 0, 1, 2, 3]) await read(piece);
    expect(await wanting(other!.id)).toEqual([]);
    await read(4);
    await expect.poll(() => wanting(other!.id)).toEqual([reader!.id]);
    await reader!.agent.close();
    expect(await wanting(other!.id)).toEqual([]);
  });
});
