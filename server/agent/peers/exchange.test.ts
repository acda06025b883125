/** The protocol between agents by raw requests: who is answered, and with which status. */
import { randomBytes } from 'node:crypto';
import { getEventListeners, once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PIECE_BYTES } from '../../../formats/piece-list/piece-list.ts';
import { createAuthority, type PemPair } from '../../certificates/authority.ts';
import { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { issueNodeCertificate } from '../certificates.ts';
import { TokenBucket } from '../limits.ts';
import type { Identity } from '../pieces/attestation.ts';
import type { PieceFetcher } from '../pieces/fetch-piece.ts';
import { OriginFailure } from '../pieces/origin-failure.ts';
import { hashPiece } from '../pieces/piece-file.ts';
import { ExchangeClient } from './exchange-client.ts';
import { createExchangeServer, type ExchangeOptions } from './exchange-server.ts';
import { createMembers } from './topology.ts';
import { Tracker } from './tracker.ts';

const DAY = 86_400_000;
const validity = { from: new Date(Date.now() - DAY), to: new Date(Date.now() + DAY) };
const CALLER = '10.0.0.9:65002';
const DIGEST = `sha256:${'a'.repeat(64)}`;
const URL_OF_BLOB = `http://reg.example/v2/a/blobs/${DIGEST}`;
const bytes = randomBytes(1000);

let authority: PemPair;
let server: http.Server;
let id: string;
let options: ExchangeOptions;
/** Pieces that the fetcher of this node gives, by their index. */
let asOwner: (index: number) => Promise<unknown>;

const identityOf = async (node: string, by = authority): Promise<Identity> => ({
  ca: by.cert,
  ...(await issueNodeCertificate(by, node, validity)),
});

beforeAll(async () => {
  authority = await createAuthority('test', validity);
  const self = { id: '127.0.0.1:1', zone: '' };
  const fetcher = {
    stored: async () => undefined,
    getAsOwner: (_: unknown, index: number, { signal }: { readonly signal: AbortSignal }) => {
      // As those who wait for a piece do.
      signal.addEventListener('abort', () => undefined, { once: true });
      return asOwner(index);
    },
    isCredible: () => true,
  } as unknown as PieceFetcher;
  options = {
    identity: await identityOf('127.0.0.1'),
    view: () => ({ self, members: createMembers([self]), version: 'v' }),
    health: { isSuspect: () => false, suspect: () => undefined, clear: () => undefined, differs: () => undefined },
    fetcher,
    tracker: new Tracker(),
    metrics: new AgentMetrics(createMetrics('agent')),
    bucket: new TokenBucket(Infinity),
    pulling: () => undefined,
    prefetch: async (_, __, response) => void response.writeHead(404).end(),
    ping: async () => undefined,
    signal: new AbortController().signal,
  };
  ({ server } = createExchangeServer(options));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  id = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

interface Got {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly processing: number;
}

async function ask(
  path: string,
  headers: Record<string, string> = {},
  { identity, method = 'GET', body }: { identity?: Identity; method?: string; body?: string } = {},
): Promise<Got> {
  const { ca, cert, key } = identity ?? (await identityOf(CALLER));
  const options = { ca, cert, key, method, agent: false, checkServerIdentity: () => undefined } as const;
  return new Promise((resolve, reject) => {
    let processing = 0;
    const request = https.request(
      `https://${id}${path}`,
      { ...options, headers: { 'x-accel-node': CALLER, ...headers } },
      (response) => {
        response.resume();
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, processing }));
      },
    );
    request.on('information', ({ statusCode }) => {
      if (statusCode === 102) processing += 1;
    });
    request.on('error', reject);
    request.end(body);
  });
}

const piece = (index = 0) => `/p2p/v1/blobs/${DIGEST}/pieces/${index}`;
const owner = { 'x-accel-role': 'owner', 'x-accel-origin': URL_OF_BLOB, 'x-accel-size': '1000' };

describe('who may ask', () => {
  it('a caller that says it is another node than its certificate names gets 403', async () => {
    expect((await ask(piece(), { 'x-accel-node': '10.0.0.8:65002' })).status).toBe(403);
    expect((await ask(piece(), { 'x-accel-node': '' })).status).toBe(403);
  });

  it('a caller with a certificate of another authority, or with none, is not spoken to', async () => {
    const other = await createAuthority('test', validity);
    const identity = { ...(await identityOf(CALLER, other)), ca: authority.cert };
    await expect(ask(piece(), {}, { identity })).rejects.toThrow();
    await expect(ask(piece(), {}, { identity: { ca: authority.cert } as Identity })).rejects.toThrow();
  });

  it('nobody joins a swarm for another node', async () => {
    const join = (name: string) =>
      ask(`/p2p/v1/swarm/${DIGEST}`, {}, { method: 'POST', body: JSON.stringify({ id: name, zone: '', view: 'v' }) });
    expect((await join('10.0.0.8:65002')).status).toBe(403);
    expect((await join(CALLER)).status).toBe(200);
  });
});

it('requests that wait add no listener to the signal of the whole agent', async () => {
  let give: (value: unknown) => void = () => undefined;
  const waiting = new Promise((resolve) => (give = resolve));
  let asked = 0;
  asOwner = async () => {
    asked += 1;
    return waiting;
  };
  const all = Array.from({ length: 12 }, () => ask(piece(), owner));
  await expect.poll(() => asked).toBe(12);
  expect(getEventListeners(options.signal, 'abort')).toEqual([]);
  give({ bytes, sha256: hashPiece(bytes), attestation: 'signed' });
  expect((await Promise.all(all)).map(({ status }) => status)).toEqual(Array(12).fill(200));
});

describe('a caller of bad faith', () => {
  it('that asks for very much at once is refused beyond its share, and the others are served', async () => {
    let give: (value: unknown) => void = () => undefined;
    const never = new Promise((resolve) => (give = resolve));
    const found = { bytes, sha256: hashPiece(bytes), attestation: 'signed' };
    asOwner = async (index) => (index === 0 ? never : found);
    const headers = { ...owner, 'x-accel-size': String(PIECE_BYTES + 1000) };
    const statuses: number[] = [];
    const identity = await identityOf(CALLER);
    const asked = Array.from({ length: 140 }, () =>
      ask(piece(), headers, { identity }).then(({ status }) => void statuses.push(status)),
    );
    const settled = Promise.allSettled(asked);
    await expect.poll(() => statuses).toEqual(Array(12).fill(503));
    const other = '10.0.0.8:65002';
    const others = { identity: await identityOf(other) };
    expect((await ask(piece(1), { ...headers, 'x-accel-node': other }, others)).status).toBe(200);
    give(found);
    await settled;
    expect(statuses.filter((status) => status === 200)).toHaveLength(128);
  });

  it('that asks for much and reads nothing has a quarter of the uploads, and the others are served', async () => {
    // More than the kernel takes of what nobody reads.
    const large = Buffer.alloc(12 * 2 ** 20);
    const { server: plain, slots } = createExchangeServer({ ...options, identity: undefined });
    asOwner = async (index) => ({ bytes: index === 0 ? large : bytes, sha256: '', attestation: undefined });
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const { port } = plain.address() as AddressInfo;
    const headers = { ...owner, 'x-accel-size': String(PIECE_BYTES + 1000) };
    const waiting = Array.from({ length: 40 }, () => {
      const request = http.get({ port, path: piece(), headers: { ...headers, 'x-accel-node': CALLER }, agent: false });
      return request.on('response', (response) => response.pause()).on('error', () => undefined);
    });
    try {
      await expect.poll(() => slots.held).toBe(16);
      const other = await fetch(`http://127.0.0.1:${port}${piece(1)}`, {
        headers: { ...headers, 'x-accel-node': '10.0.0.8:65002' },
      });
      expect([other.status, (await other.arrayBuffer()).byteLength]).toEqual([200, bytes.length]);
      expect(slots.held).toBe(16);
    } finally {
      for (const request of waiting) request.destroy();
      plain.closeAllConnections();
      await new Promise((resolve) => plain.close(resolve));
    }
  });

  it('that opens more connections than an address may have loses those that it had idle', async () => {
    const { server: plain } = createExchangeServer({ ...options, identity: undefined });
    await new Promise<void>((resolve) => plain.listen({ port: 0, host: '127.0.0.1', backlog: 2048 }, resolve));
    const ended = async () => (await options.metrics.endedConnections.get()).values[0]?.value;
    const sockets = Array.from({ length: 1034 }, () =>
      connect((plain.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined),
    );
    try {
      await expect.poll(ended).toBe(10);
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => plain.close(resolve));
    }
  });

  it('that begins no handshake is cut off', async () => {
    const socket = connect(Number(id.split(':')[1]), '127.0.0.1');
    await once(socket, 'close');
  });
});

describe('answers', () => {
  it.each([
    ['a piece that is not here', piece(), {}, 404],
    ['a path that names none', '/p2p/v1/blobs/sha256:abc/pieces/0', {}, 404],
    ['an index with zeros before it', `/p2p/v1/blobs/${DIGEST}/pieces/00`, {}, 404],
    ['another path', '/metrics', {}, 404],
    ['a request that came by this node', piece(), { 'x-accel-via': `${CALLER},127.0.0.1:1` }, 409],
    ['a request that came by too many', piece(), { 'x-accel-via': Array(17).fill(CALLER).join(',') }, 400],
    [
      'an origin that is another blob',
      piece(),
      { ...owner, 'x-accel-origin': URL_OF_BLOB.replaceAll('a'.repeat(64), 'b'.repeat(64)) },
      404,
    ],
    [
      'an origin with the digest in its query',
      piece(),
      { ...owner, 'x-accel-origin': `http://reg.example/x?${DIGEST}` },
      404,
    ],
    ['a piece beyond the end', piece(1), owner, 404],
  ])('%s', async (_, path, headers, status) => {
    asOwner = async () => ({ bytes, sha256: hashPiece(bytes), attestation: 'signed' });
    expect((await ask(path, headers)).status).toBe(status);
  });

  it('200 with hash, size and attestation', async () => {
    asOwner = async () => ({ bytes, sha256: hashPiece(bytes), attestation: 'signed' });
    const got = await ask(piece(), owner);
    expect(got).toMatchObject({
      status: 200,
      headers: { 'x-accel-piece-sha256': hashPiece(bytes), 'x-accel-piece-size': '1000', 'x-accel-attest': 'signed' },
    });
  });

  it('421 where this node is no owner', async () => {
    asOwner = async () => undefined;
    expect((await ask(piece(), owner)).status).toBe(421);
  });

  it('502 with the status and the challenge of the origin', async () => {
    asOwner = async () => {
      throw new OriginFailure(401, 'no', { challenge: 'Basic realm="x"' });
    };
    expect(await ask(piece(), owner)).toMatchObject({
      status: 502,
      headers: { 'x-accel-origin-status': '401', 'x-accel-origin-challenge': 'Basic realm="x"' },
    });
  });

  it('102 while the piece is on its way', async () => {
    asOwner = async () => {
      await new Promise((resolve) => setTimeout(resolve, 1300));
      return { bytes, sha256: hashPiece(bytes), attestation: undefined };
    };
    const got = await ask(piece(), owner);
    expect(got.status).toBe(200);
    expect(got.processing).toBeGreaterThan(0);
  });

  it('400 for a join that is invalid', async () => {
    for (const body of ['', '[]', '{"id":1}', 'x'.repeat(10_000)])
      expect((await ask(`/p2p/v1/swarm/${DIGEST}`, {}, { method: 'POST', body })).status).toBe(400);
  });
});

describe('the client', () => {
  const question = {
    blob: { digest: DIGEST, size: 1000, url: new URL(URL_OF_BLOB), authorization: 'Bearer secret' },
    index: 0,
    role: 'owner' as const,
    via: [],
    view: 'v',
  };

  it('sends nothing to a node whose certificate is for another', async () => {
    let heard = '';
    const imposter = https.createServer({ ...(await identityOf('10.0.0.5:65002')) });
    imposter.on('secureConnection', (socket) => socket.on('data', (chunk: Buffer) => (heard += chunk.toString())));
    await new Promise<void>((resolve) => imposter.listen(0, '127.0.0.1', resolve));
    const client = new ExchangeClient({ id: CALLER, zone: '' }, await identityOf(CALLER));
    try {
      const peer = { id: `127.0.0.1:${(imposter.address() as AddressInfo).port}`, zone: '' };
      expect(await client.piece(peer, question)).toMatchObject({ kind: 'dead' });
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(heard).toBe('');
    } finally {
      client.close();
      imposter.closeAllConnections();
      await new Promise((resolve) => imposter.close(resolve));
    }
  });

  it('gives up a node that accepts and never answers, and rejects, rather than blames it, when its own caller leaves', async () => {
    const silent = http.createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const deadlines = { connect: 5000, silence: 200, piece: 5000 };
    const client = new ExchangeClient({ id: CALLER, zone: '' }, undefined, { deadlines });
    try {
      const peer = { id: `127.0.0.1:${(silent.address() as AddressInfo).port}`, zone: '' };
      expect(await client.piece(peer, question)).toMatchObject({ kind: 'dead' });
      const gone = new AbortController();
      const asked = client.piece(peer, { ...question, signal: gone.signal });
      gone.abort(new Error('left'));
      await expect(asked).rejects.toThrow('left');
    } finally {
      client.close();
      silent.closeAllConnections();
      await new Promise((resolve) => silent.close(resolve));
    }
  });
});
