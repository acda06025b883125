/** Readers that leave in the middle of a piece, as containerd's parallel ranges do: the registry sends the piece once all the same. */
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PIECE_BYTES } from '../../formats/piece-list/piece-list.ts';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { parseRange } from './client-range.ts';

const blob = randomBytes(2 * PIECE_BYTES);
const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;

/** A registry that sends half of each range, and the rest when it is let go on. */
let registry: http.Server;
let cluster: Cluster;
/** Starts of the ranges that were asked for, and of those whose connection ended too soon. */
let asked: number[];
let cut: number[];
let goOn: () => void;
let metrics: Metrics;

beforeEach(async () => {
  [asked, cut, metrics] = [[], [], createMetrics('agent')];
  const rest = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  registry = http.createServer((request, response) => {
    if (request.method === 'HEAD') return void response.writeHead(200, { 'content-length': blob.length }).end();
    const range = parseRange(request.headers.range, blob.length);
    if (typeof range !== 'object') return void response.writeHead(400).end();
    const { start, end } = range;
    asked.push(start);
    response.on('close', () => {
      if (!response.writableFinished) cut.push(start);
    });
    response.writeHead(206, {
      'content-length': end - start,
      'content-range': `bytes ${start}-${end - 1}/${blob.length}`,
    });
    const half = (start + end) / 2;
    response.write(blob.subarray(start, half));
    void rest.then(() => response.end(blob.subarray(half, end)));
  });
  await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(registry.address() as AddressInfo).port}`;
  cluster = await startCluster({
    size: 1,
    upstreams: [{ host, plain: true, http: {} }],
    change: (options) => ({ ...options, metrics: new AgentMetrics(metrics) }),
  });
});
afterEach(async () => {
  await cluster.close();
  registry.closeAllConnections();
  registry.close();
});

const url = () => `${cluster.nodes[0]!.url}/v2/team/app/blobs/${digest}`;

async function value(name: string): Promise<number> {
  const metric = metrics.registry.getSingleMetric(`accel_agent_${name}`)!;
  return (await metric.get()).values.reduce((sum, one) => sum + one.value, 0);
}

/** A client that asks for all from `start` on, and leaves when half of both pieces is here. */
async function readAndLeave(): Promise<void> {
  const leaving = new AbortController();
  const reading = fetch(url(), { headers: { range: 'bytes=0-' }, signal: leaving.signal });
  await expect.poll(() => value('origin_received_bytes_total')).toBe(blob.length / 2);
  leaving.abort();
  await expect(reading).rejects.toThrow();
  await expect.poll(() => value('pieces_in_flight')).toBe(0);
}

it('the next reader gets the pieces that the one before began', async () => {
  await readAndLeave();
  const next = fetch(url());
  await expect.poll(() => value('pieces_in_flight')).toBe(2);
  goOn();
  expect(Buffer.from(await (await next).arrayBuffer()).equals(blob)).toBe(true);
  expect([asked.sort((a, b) => a - b), cut]).toEqual([[0, PIECE_BYTES], []]);
});

it('pieces whose readers have left are finished, and kept', async () => {
  await readAndLeave();
  goOn();
  await expect.poll(() => value('cache_pieces')).toBe(2);
  expect(Buffer.from(await (await fetch(url())).arrayBuffer()).equals(blob)).toBe(true);
  expect([asked.sort((a, b) => a - b), cut]).toEqual([[0, PIECE_BYTES], []]);
});

it('an agent that stops does not wait for them', async () => {
  await readAndLeave();
  await cluster.nodes[0]!.agent.close(60_000);
  await expect.poll(() => cut.length).toBe(2);
});
