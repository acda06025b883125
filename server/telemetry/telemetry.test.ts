import { once } from 'node:events';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VERSION } from '../../base/version.ts';
import { describeWith, run } from '../../tests/support/tools.ts';
import { type Exposition, serveTelemetry } from './exposition.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { ServiceMetrics } from './service-metrics.ts';

describe('the endpoint', () => {
  let metrics: Metrics;
  let endpoint: Exposition;
  let reasons: string[];

  beforeEach(async () => {
    metrics = createMetrics('test');
    reasons = [];
    endpoint = await serveTelemetry({ host: '127.0.0.1', port: 0, metrics, unready: () => reasons });
  });
  afterEach(() => endpoint.close());

  it('serves what was counted, in the form of Prometheus', async () => {
    const pulls = metrics.counter({ name: 'pulls_total', help: 'Pulls', labels: ['outcome'] });
    const seconds = metrics.histogram({ name: 'pull_seconds', help: 'Seconds of a pull' });
    pulls.inc({ outcome: 'ok' }, 3);
    seconds.observe(0.3);
    const response = await fetch(`${endpoint.url}/metrics`);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    const lines = (await response.text()).split('\n');
    expect(lines).toContain('accel_pulls_total{outcome="ok"} 3');
    expect(lines).toContain('accel_pull_seconds_bucket{le="0.25"} 0');
    expect(lines).toContain('accel_pull_seconds_bucket{le="0.5"} 1');
    expect(lines).toContain(`accel_build_info{version="${VERSION}",role="test"} 1`);
    expect(lines.some((line) => line.startsWith('process_cpu_seconds_total '))).toBe(true);
  });

  describeWith({ tools: ['promtool'] }, 'judged by Prometheus', () => {
    it('is accepted by promtool', async () => {
      new ServiceMetrics(metrics).observe(async () => ({ waiting: {}, running: {}, failed: {}, oldest: {} }));
      metrics.histogram({ name: 'piece_bytes', help: 'Bytes of a piece', buckets: [1, 2] }).observe(1);
      const text = await (await fetch(`${endpoint.url}/metrics`)).text();
      const own = text.split('\n\n').filter((part) => part.includes('# HELP accel_'));
      await run('promtool', ['check', 'metrics'], { input: `${own.join('\n')}\n` });
    });
  });

  it('serves the figures of the queue as they are when they are asked for', async () => {
    const service = new ServiceMetrics(metrics);
    let waiting = 1;
    const none = { event: 0, convert: 0, notify: 0 };
    service.observe(async () => ({
      waiting: { ...none, convert: waiting++ },
      running: none,
      failed: none,
      oldest: { ...none, event: 1500 },
    }));
    service.events.inc({ kind: 'harbor', decision: 'convert' });
    const read = async () => (await (await fetch(`${endpoint.url}/metrics`)).text()).split('\n');
    expect(await read()).toContain('accel_service_queue_jobs{topic="convert",state="waiting"} 1');
    const lines = await read();
    expect(lines).toContain('accel_service_queue_jobs{topic="convert",state="waiting"} 2');
    expect(lines).toContain('accel_service_queue_oldest_seconds{topic="event"} 1.5');
    expect(lines).toContain('accel_service_events_total{kind="harbor",decision="convert"} 1');
  });

  it('is healthy at once, and ready when no reason is given against it', async () => {
    reasons = ['queue: disk full', 'peers: no view yet'];
    expect((await fetch(`${endpoint.url}/healthz`)).status).toBe(200);
    const unready = await fetch(`${endpoint.url}/readyz`);
    expect([unready.status, await unready.text()]).toEqual([503, 'queue: disk full\npeers: no view yet\n']);
    reasons = [];
    expect((await fetch(`${endpoint.url}/readyz?verbose`)).status).toBe(200);
  });

  it.each([
    ['GET', '/', 404],
    ['GET', '/metrics/', 404],
    ['GET', '//metrics', 404],
    ['POST', '/metrics', 405],
    ['DELETE', '/healthz', 405],
    ['HEAD', '/healthz', 200],
  ])('%s %s: %d', async (method, path, status) => {
    const { host } = new URL(endpoint.url);
    const answer = await new Promise<{ status: number | undefined; bytes: number }>((resolve, reject) => {
      const [hostname, port] = host.split(':');
      request({ hostname, port, method, path }, (response) => {
        let bytes = 0;
        response.on('data', (chunk: Buffer) => (bytes += chunk.length));
        response.on('end', () => resolve({ status: response.statusCode, bytes }));
      })
        .on('error', reject)
        .end();
    });
    expect(answer.status).toBe(status);
    if (method === 'HEAD') expect(answer.bytes).toBe(0);
  });
});

it('connections that ask nothing lock nobody out, and the oldest of them end', async () => {
  const metrics = createMetrics('test');
  const endpoint = await serveTelemetry({ host: '127.0.0.1', port: 0, metrics, unready: () => [] });
  const ended: number[] = [];
  const idle = Array.from({ length: 70 }, (_, number) => {
    const socket = connect(Number(new URL(endpoint.url).port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.once('close', () => void ended.push(number));
    return once(socket, 'connect');
  });
  await Promise.all(idle);
  for (let turn = 0; turn < 3; turn++) {
    expect((await fetch(`${endpoint.url}/healthz`, { headers: { connection: 'close' } })).status).toBe(200);
  }
  expect(ended.length).toBeGreaterThanOrEqual(7);
  expect(ended.every((number) => number < 20)).toBe(true);
  expect(await metrics.registry.getSingleMetricAsString('accel_ended_connections_total')).toMatch(
    /\{port="metrics"\} [1-9]/,
  );
  await endpoint.close();
});

it('an address that is taken is an error with the address', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as { port: number };
  await expect(
    serveTelemetry({ host: '127.0.0.1', port, metrics: createMetrics('test'), unready: () => [] }),
  ).rejects.toMatchObject({
    code: 'io-error',
    where: { key: 'telemetry.listen', address: `127.0.0.1:${port}` },
    hint: expect.stringContaining('ss -ltnp'),
  });
  await new Promise((resolve) => other.close(resolve));
});
