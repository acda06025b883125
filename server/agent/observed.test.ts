/** An agent reports about itself: metrics that Prometheus scrapes, the audit log, and the totals by image. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWith, run as runTool } from '../../tests/support/tools.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';
import { run } from '../main.ts';
import type { AgentReport } from './served-report.ts';

const PROMETHEUS = 'prometheus';
const BLOB_BYTES = 5_000_000;
let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
const signals = new EventEmitter();
let agent: { readonly end: Promise<void> };
let ports: { clients: number; peers: number; metrics: number };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-observed-'));
  image = await writeImageLayout(folder, [randomBytes(BLOB_BYTES)]);
  registry = await startDemoRegistry({ layout: folder });
  const [clients = 0, peers = 0, metrics = 0] = await freePorts(3);
  ports = { clients, peers, metrics };
  agent = await start(ports, { telemetry: { listen: `127.0.0.1:${metrics}` } });
  const blob = `/v2/team/app/blobs/${image.layers[0]!.digest}`;
  expect((await read(`${blob}?ns=${registry.host}`)).length).toBe(BLOB_BYTES);
  const secret = '?sig=SECRET&X-Amz-Credential=SECRET';
  const device = await fetch(`http://127.0.0.1:${clients}/dadip2p/http://${registry.host}${blob}${secret}`, {
    headers: { range: 'bytes=100-299' },
  });
  expect((await device.arrayBuffer()).byteLength).toBe(200);
});
afterAll(async () => {
  signals.emit('SIGTERM', 'SIGTERM');
  await agent.end;
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

/** Starts an agent in this process; resolves when it serves, with its end. */
async function start(on: typeof ports, more: object): Promise<{ readonly end: Promise<void> }> {
  const config = join(folder, `accel-${on.clients}.yaml`);
  const settings = {
    registries: [{ host: registry.host, plain: true }],
    agent: {
      keepSockets: false,
      listen: `127.0.0.1:${on.clients}`,
      peerListen: `127.0.0.1:${on.peers}`,
      cache: { path: join(folder, `cache-${on.clients}`), keepFree: 0, capacity: 4_294_967_296 },
      contentStore: join(folder, 'none'),
      logAudit: true,
      logAuditMode: 'file',
      logDir: join(folder, 'log'),
    },
    ...more,
  };
  await writeFile(config, JSON.stringify(settings));
  let end = Promise.resolve();
  await new Promise<void>((resolve, reject) => {
    end = run({ role: 'agent', config, check: false }, { stderr: { write: () => true }, signals, onServing: resolve });
    end.catch(reject);
  });
  return { end };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const found = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return found;
}

async function read(path: string, port = ports.clients): Promise<Buffer> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  expect(response.status).toBe(200);
  return Buffer.from(await response.arrayBuffer());
}

const metricsText = async (): Promise<string> => String(await read('/metrics', ports.metrics));

describe('the metrics of an agent', () => {
  it('count what happened, in the words of the seeds and in its own', async () => {
    const text = await metricsText();
    const node = `node="127.0.0.1:${ports.peers}"`;
    const value = (series: string) =>
      Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${series} `))
          ?.split(' ')[1],
      );
    expect(
      text.startsWith(`# HELP DADIP2P_Alive\n# TYPE DADIP2P_Alive gauge\nDADIP2P_Alive{${node},mode="agent"} 1.0000`),
    ).toBe(true);
    expect(text).toMatch(/DADIP2P_Alive\{.*\} 1\.000000 \d{13}\n/);
    const count = (type: string) => value(`DADIP2P_Count{${node},type="${type}",mode="agent"}`);
    expect(count('http')).toBe(BLOB_BYTES + 200);
    expect(count('download')).toBe(BLOB_BYTES);
    expect([count('pread'), count('peer')]).toEqual([0, 0]);
    expect(value(`DADIP2P_Cache{${node},type="allocated",mode="agent"}`)).toBe(4_294_967_296);
    expect(value(`accel_agent_client_sent_bytes_total{registry="${registry.host}"}`)).toBe(BLOB_BYTES + 200);
    expect(value(`accel_agent_origin_received_bytes_total{registry="${registry.host}"}`)).toBe(BLOB_BYTES);
    expect(value(`accel_agent_saved_bytes{registry="${registry.host}"}`)).toBe(200);
    expect(value('accel_agent_operation_seconds_count{operation="client"}')).toBe(2);
    expect(value('accel_agent_operation_seconds_count{operation="from-origin"}')).toBe(3);
  });

  describeWith({ tools: ['promtool'] }, 'judged by promtool', () => {
    it('have nothing to complain about but the names of the seeds', async () => {
      const text = await metricsText();
      const seeds = text.slice(0, text.indexOf('# HELP process_'));
      const own = text
        .slice(seeds.length)
        .split(/(?=# HELP )/)
        .filter((part) => part.startsWith('# HELP accel_'));
      expect(own.length).toBeGreaterThan(20);
      await runTool('promtool', ['check', 'metrics'], { input: own.join('') });
      const complaints = await runTool('promtool', ['check', 'metrics'], { input: seeds }).then(
        () => '',
        (error: Error) => error.message,
      );
      expect(complaints).not.toContain('parsing');
    });
  });

  describeWith({ tools: [PROMETHEUS] }, 'scraped by Prometheus', () => {
    it('arrive there with their values', async () => {
      const [port = 0] = await freePorts(1);
      const config = join(folder, 'prometheus.yml');
      await writeFile(
        config,
        JSON.stringify({
          global: { scrape_interval: '1s' },
          scrape_configs: [{ job_name: 'agent', static_configs: [{ targets: [`127.0.0.1:${ports.metrics}`] }] }],
        }),
      );
      const prometheus = spawn(
        PROMETHEUS,
        [
          `--config.file=${config}`,
          `--storage.tsdb.path=${join(folder, 'tsdb')}`,
          `--web.listen-address=127.0.0.1:${port}`,
          '--log.level=error',
        ],
        { stdio: 'ignore' },
      );
      const gone = once(prometheus, 'exit');
      try {
        const query = async (text: string): Promise<number | undefined> => {
          const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(text)}`;
          const answer = (await fetch(url).then(
            (response) => response.json(),
            () => undefined,
          )) as { data?: { result: { value: [number, string] }[] } } | undefined;
          const found = answer?.data?.result[0]?.value[1];
          return found === undefined ? undefined : Number(found);
        };
        for (const until = performance.now() + 120_000; (await query('up{job="agent"}')) !== 1; await sleep(200)) {
          if (performance.now() > until) throw new Error('Prometheus has not scraped the agent');
        }
        expect(await query('DADIP2P_Count{type="http"}')).toBe(BLOB_BYTES + 200);
        expect(await query('DADIP2P_Alive')).toBe(1);
        expect(await query('sum(accel_agent_client_sent_bytes_total)')).toBe(BLOB_BYTES + 200);
        expect(await query('count({__name__=~"DADIP2P_.+"})')).toBe(1 + 4 * 5 + 2);
      } finally {
        prometheus.kill('SIGTERM');
        await gone;
      }
    });
  });
});

describe('the audit log of an agent', () => {
  it('has each operation, without queries and credentials', async () => {
    const path = join(folder, 'log/audit.log');
    const lines = async () => (await readFile(path, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
    for (let tries = 0; (await lines()).length < 8 && tries < 1200; tries++) await sleep(50);
    const found = (await lines()).map((line) => line.split('|').at(-1)!);
    const where = `pathname=/http://${registry.host}/v2/team/app/blobs/${image.layers[0]!.digest}`;
    for (const line of found)
      expect(line).toMatch(/^[a-z:]+\[pathname=[^\]]+\]\[offset=\d+\]\[size=\d+\]\[latency=\d+\]$/);
    expect(found.join('\n')).not.toContain('SECRET');
    const starts = found.map((line) => line.replace(/\[latency.*/, ''));
    expect(starts).toContain(`http:pread[${where}][offset=0][size=${BLOB_BYTES}]`);
    expect(starts).toContain(`http:pread[${where}][offset=100][size=200]`);
    expect(starts).toContain(`download[${where}][offset=2097152][size=2097152]`);
    expect(starts).toContain(`filewrite[${where}][offset=0][size=2097152]`);
  });
});

describe('GET /api/v1/agent', () => {
  it('reports what the node served and pulled, by image', async () => {
    const report = JSON.parse(String(await read('/api/v1/agent', ports.metrics))) as AgentReport;
    expect(report).toMatchObject({
      schemaVersion: 1,
      node: `127.0.0.1:${ports.peers}`,
      unready: null,
      members: 1,
      bytes: { toClients: BLOB_BYTES + 200, toPeers: 0, fromPeers: 0, fromOrigin: BLOB_BYTES },
      cache: { allocated: 4_294_967_296 },
      images: [
        {
          registry: registry.host,
          repository: 'team/app',
          toClients: BLOB_BYTES + 200,
          fromOrigin: BLOB_BYTES,
          blobs: 1,
        },
      ],
    });
  });

  it('lists no name that the registry has confirmed to nobody', async () => {
    const { digest } = image.layers[0]!;
    const other = `sha256:${'0'.repeat(64)}`;
    const block = (path: string) => fetch(`http://127.0.0.1:${ports.clients}/dadip2p/http://${registry.host}${path}`);
    for (const path of [`/v2/junk/device/blobs/${other}`, `/junk/blobs/${digest}`, `/v2/junk/blobs/${digest}/more`]) {
      expect((await block(path)).status).toBeGreaterThanOrEqual(400);
    }
    const got = await fetch(`http://127.0.0.1:${ports.peers}/p2p/v1/blobs/${digest}/pieces/0`, {
      headers: {
        'x-accel-node': '10.0.0.9:1',
        'x-accel-role': 'owner',
        'x-accel-size': String(BLOB_BYTES),
        'x-accel-origin': `http://${registry.host}/v2/junk/peer/blobs/${digest}`,
      },
    });
    expect([got.status, (await got.arrayBuffer()).byteLength]).toEqual([200, 2_097_152]);
    const { images } = JSON.parse(String(await read('/api/v1/agent', ports.metrics))) as AgentReport;
    expect(images.map(({ repository, toPeers }) => [repository, toPeers])).toEqual([['team/app', 2_097_152]]);
  });

  it('is on the port of the clients where metrics have none of their own', async () => {
    const [clients = 0, peers = 0, metrics = 0] = await freePorts(3);
    const shared = await start(
      { clients, peers, metrics },
      { telemetry: { listen: `127.0.0.1:${metrics}`, standaloneExporterPort: false, timestamps: false } },
    );
    try {
      expect(JSON.parse(String(await read('/api/v1/agent', clients)))).toMatchObject({ node: `127.0.0.1:${peers}` });
      expect(String(await read('/metrics', clients))).toMatch(/DADIP2P_Alive\{.*\} 1\.000000\n/);
      expect(String(await read('/readyz', clients))).toBe('ok\n');
      await expect(fetch(`http://127.0.0.1:${metrics}/metrics`)).rejects.toThrow();
    } finally {
      signals.emit('SIGTERM', 'SIGTERM');
      await Promise.all([shared.end, agent.end]);
    }
  });
});
