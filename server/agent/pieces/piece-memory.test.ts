/** Tests that memory of pieces is used again, and never while somebody reads it: slow readers would get another piece's bytes. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PIECE_BYTES } from '../../../formats/piece-list/piece-list.ts';
import { startCluster } from '../../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../../demo/image-layout.ts';
import { HEADER, piecePath } from '../peers/wire.ts';
import { PIECE_MEMORY, PieceMemory } from './piece-memory.ts';

describe('memory of pieces', () => {
  it('is given out again after all have let go of it, once', () => {
    const memory = new PieceMemory();
    const first = memory.take(PIECE_BYTES);
    const record = memory.pass({ bytes: first });
    const written = memory.hold(record.bytes.subarray(5, 9));
    memory.letGo(first);
    memory.letGo(first);
    memory.letGo(record);
    expect(memory.free).toBe(0);
    expect(memory.take(PIECE_BYTES).buffer).not.toBe(first.buffer);
    written();
    expect(memory.free).toBe(1);
    const second = memory.take(PIECE_BYTES);
    expect(second.buffer).toBe(first.buffer);
    // Those of the first use have no say in the second one.
    memory.letGo(first);
    memory.letGo(record);
    written();
    expect(memory.free).toBe(0);
    memory.letGo(second);
    expect(memory.free).toBe(1);
  });

  it('of another length belongs to its reader alone', () => {
    const memory = new PieceMemory();
    const bytes = memory.take(PIECE_BYTES - 1);
    memory.letGo(memory.share({ bytes }));
    memory.letGo(bytes);
    memory.hold(bytes)();
    expect([bytes.length, memory.free]).toEqual([PIECE_BYTES - 1, 0]);
  });

  it('is kept for a bounded number of pieces', () => {
    const memory = new PieceMemory();
    const taken = Array.from({ length: 40 }, () => memory.take(PIECE_BYTES));
    expect(new Set(taken.map(({ buffer }) => buffer)).size).toBe(40);
    for (const bytes of taken) memory.letGo(bytes);
    expect(memory.free).toBe(16);
  });
});

describe('an agent with little memory', () => {
  const PIECES = 6;
  let folder: string;
  let blobs: Buffer[];
  let image: MadeImage;
  let registry: DemoRegistry;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'accel-memory-'));
    blobs = [randomBytes(PIECES * PIECE_BYTES), randomBytes(12 * PIECE_BYTES)];
    image = await writeImageLayout(folder, blobs);
    registry = await startDemoRegistry({ layout: folder });
  });
  afterAll(async () => {
    await registry.close();
    await rm(folder, { recursive: true, force: true });
  });

  it.each([true, false])(
    'gives slow clients, devices and agents the right bytes while others use its memory (in the clear: %s)',
    async (plain) => {
      const cluster = await startCluster({
        size: 2,
        plain,
        upstreams: [{ host: registry.host, plain: true, http: {} }],
        change: (options) => ({ ...options, store: { ...options.store, memory: 2 * PIECE_BYTES } }),
      });
      try {
        const [node, other] = cluster.nodes as [(typeof cluster.nodes)[number], (typeof cluster.nodes)[number]];
        const [slow, churned] = image.layers.map(({ digest }) => digest) as [string, string];
        const urls = (digest: string) => [node, other].map(({ url }) => `${url}/v2/team/app/blobs/${digest}`);
        const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
        const piece = (index: number) => blobs[0]!.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES);
        await Promise.all(urls(slow).map((url) => open(url).then(read)));
        const opened: { readonly read: () => Promise<Buffer[]>; readonly expected: readonly Buffer[] }[] = [];
        for (const url of urls(slow))
          for (let client = 0; client < 3; client++) {
            const answer = await open(url);
            opened.push({ read: async () => [await read(answer)], expected: [blobs[0]!] });
          }
        const pieces = Array.from({ length: PIECES }, (_, index) => piece(index));
        const ranges = pieces.map((_, index) => ({
          path: `/dadip2p/http://${registry.host}/v2/team/app/blobs/${slow}`,
          headers: { range: `bytes=${index * PIECE_BYTES}-${(index + 1) * PIECE_BYTES - 1}` },
        }));
        opened.push({ read: await askAll(node.url, ranges), expected: pieces });
        const asked = pieces.map((_, index) => ({
          path: piecePath(slow, index),
          headers: { [HEADER.role]: 'tree', [HEADER.insists]: '1', [HEADER.node]: node.id },
        }));
        if (plain) opened.push({ read: await askAll(`http://${other.id}`, asked), expected: pieces });
        // Nobody reads on, and what they wait for lies in memory that all of this would like to have.
        for (let round = 0; round < 2; round++) {
          const bodies = await Promise.all(urls(churned).map((url) => open(url).then(read)));
          for (const body of bodies) expect(hash(body)).toBe(churned.slice(7));
        }
        expect(PIECE_MEMORY.free).toBeGreaterThan(0);
        const got = await Promise.all(opened.map((one) => one.read()));
        for (const [at, { expected }] of opened.entries()) expect(got[at]!.map(hash)).toEqual(expected.map(hash));
      } finally {
        await cluster.close();
      }
    },
    30_000,
  );
});

/** Sends a request; resolves with the head of its answer, of which nobody reads on. */
function open(url: string): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    http
      .get(url, { agent: false }, (answer) => {
        if (answer.statusCode === 200) resolve(answer.pause());
        else reject(new Error(`HTTP ${answer.statusCode} for ${url}`));
      })
      .on('error', reject);
  });
}

interface Request {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Sends all requests by one connection, where the answers wait for each other; what it returns reads their bodies. */
async function askAll(url: string, requests: readonly Request[]): Promise<() => Promise<Buffer[]>> {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname).pause();
  await once(socket, 'connect');
  for (const { path, headers } of requests) {
    const lines = Object.entries({ host: 'test', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  }
  // Until the first answer has begun, and the others wait for its end.
  await once(socket, 'readable');
  await sleep(300);
  return async () => {
    let rest = Buffer.alloc(0);
    const bodies: Buffer[] = [];
    for await (const part of socket) {
      rest = Buffer.concat([rest, part as Buffer]);
      for (let end = rest.indexOf('\r\n\r\n'); end >= 0; end = rest.indexOf('\r\n\r\n')) {
        const head = rest.toString('latin1', 0, end);
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
        if (rest.length < end + 4 + length) break;
        if (!/^HTTP\/1.1 (102|20[06])/.test(head)) throw new Error(head);
        if (length > 0) bodies.push(rest.subarray(end + 4, end + 4 + length));
        rest = rest.subarray(end + 4 + length);
      }
      if (bodies.length === requests.length) break;
    }
    return bodies;
  };
}

async function read(answer: http.IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
