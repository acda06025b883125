/**
 * A device goes on reading while the agent is restarted again and again: by SIGHUP as an upgrade does, by an exception, by
 * SIGKILL; and a pull goes on when it is stopped by SIGSTOP. ACCEL_RESTARTS sets how many times, and asks that no read waits for more than a second.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { writeImageLayout } from '../demo/image-layout.ts';
import { DeviceReader } from './testing/device-reader.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const RESTARTS = Number(process.env.ACCEL_RESTARTS ?? 12);
const BLOB_BYTES = 9_000_000;
const READ_BYTES = 256 * 1024;
/** Milliseconds between two reads of a reader. */
const EVERY = 10;

/** Runs the agent with a holder whose next worker is loaded at once, so that many restarts fit into a test. */
const PROGRAM = `
import { holdRole } from ${JSON.stringify(new URL('./hold-role.ts', import.meta.url).href)};
const [config, addresses] = process.argv.slice(2);
await holdRole({
  role: 'agent',
  config,
  addresses: JSON.parse(addresses),
  readAddresses: async () => JSON.parse(addresses),
  program: new URL('./role-worker.js', import.meta.url),
  drain: 5000,
  signals: process,
  log: (line) => process.stderr.write(line + '\\n'),
  times: JSON.parse(process.env.TIMES ?? '{}'),
});
`;
/** Lets a signal make a worker throw where nobody catches it. */
const CRASHES = `process.on('SIGUSR2', () => setImmediate(() => { throw new Error('a crash that was asked for'); }));`;

const started: HeldAgent[] = [];
let folder: string;
let blob: Buffer;
let registry: DemoRegistry;
let path: string;
let digest: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-restarts-'));
  blob = randomBytes(BLOB_BYTES);
  const image = await writeImageLayout(folder, [blob]);
  registry = await startDemoRegistry({ layout: folder });
  digest = image.layers[0]!.digest;
  path = `/dadip2p/http://${registry.host}/v2/demo/blobs/${digest}`;
  // Bundled as the package is: a worker starts in a fraction of the time that many small files take.
  await build({
    absWorkingDir: ROOT,
    entryPoints: ['server/role-worker.ts'],
    outdir: folder,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
  });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  await writeFile(join(folder, 'program.mts'), PROGRAM);
  await writeFile(join(folder, 'crashes.mjs'), CRASHES);
});
afterAll(async () => {
  // A test that failed has not stopped its agent.
  for (const { child } of started) child.kill('SIGTERM');
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

/** An agent with its holder, and what it logs. */
class HeldAgent {
  readonly child: ChildProcess;
  readonly ports: Readonly<Record<'clients' | 'peers' | 'metrics', number>>;
  readonly lines: string[] = [];
  readonly ended: Promise<unknown>;

  private constructor(child: ChildProcess, ports: HeldAgent['ports']) {
    this.child = child;
    this.ports = ports;
    this.ended = once(child, 'exit');
    createInterface({ input: child.stderr! }).on('line', (line) => this.lines.push(line));
  }

  static async start(times: object = {}, agentSettings: object = {}, host = registry.host): Promise<HeldAgent> {
    const [clients = 0, peers = 0, metrics = 0] = await freePorts(3);
    const ports = { clients, peers, metrics };
    const config = join(folder, `accel-${clients}.yaml`);
    const settings = {
      registries: [{ host, plain: true }],
      telemetry: { listen: `127.0.0.1:${metrics}` },
      agent: {
        listen: `127.0.0.1:${clients}`,
        peerListen: `127.0.0.1:${peers}`,
        cache: { path: join(folder, `cache-${clients}`), memory: '16Mi', keepFree: 0 },
        contentStore: join(folder, 'none'),
        ...agentSettings,
      },
    };
    await writeFile(config, JSON.stringify(settings));
    const addresses = Object.fromEntries(
      Object.entries(ports).map(([name, port]) => [name, { host: '127.0.0.1', port }]),
    );
    const child = spawn(
      process.execPath,
      ['--import', join(folder, 'crashes.mjs'), join(folder, 'program.mts'), config, JSON.stringify(addresses)],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, TIMES: JSON.stringify(times) } },
    );
    const agent = new HeldAgent(child, ports);
    started.push(agent);
    return agent;
  }

  /** Workers that have served, in order. */
  get workers(): number[] {
    return this.lines.flatMap((line) => /^worker (\d+) serves$/.exec(line)?.slice(1).map(Number) ?? []);
  }

  async until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
    for (const end = performance.now() + 120_000; !(await check()); await sleep(5)) {
      if (performance.now() > end) throw new Error(`waited in vain until ${what}:\n${this.lines.join('\n')}`);
    }
  }

  metrics(): Promise<string> {
    return fetch(`http://127.0.0.1:${this.ports.metrics}/metrics`).then((response) => response.text());
  }

  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    await this.ended;
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Begins a read every few milliseconds until the signal fires, without waiting for the read before. */
async function readOn(reader: DeviceReader, stop: AbortSignal) {
  const result = { reads: 0, retried: 0, longest: 0, errors: [] as string[] };
  const running = new Set<Promise<void>>();
  for (let turn = 0; !stop.aborted; turn++) {
    const offset = turn % 3 === 0 ? 0 : Math.floor(Math.random() * (BLOB_BYTES - READ_BYTES));
    const count = turn % 3 === 0 ? 1 : READ_BYTES;
    const read = reader.read(offset, count).then(
      ({ bytes, total, milliseconds, tries }) => {
        result.reads += 1;
        result.retried += tries > 1 ? 1 : 0;
        result.longest = Math.max(result.longest, milliseconds);
        if (total !== BLOB_BYTES || !bytes.equals(blob.subarray(offset, offset + count)))
          result.errors.push('wrong bytes');
      },
      (error: Error) => void result.errors.push(error.message),
    );
    running.add(read);
    void read.then(() => running.delete(read));
    await sleep(EVERY);
  }
  await Promise.all(running);
  reader.close();
  return result;
}

describe('an agent whose sockets are kept', () => {
  it(
    `is restarted ${RESTARTS} times, and no read of a device fails`,
    async () => {
      const agent = await HeldAgent.start({ standbyAfter: 0, settled: 0 });
      await agent.until('a worker serves', () => agent.workers.length === 1);
      const stop = new AbortController();
      const { clients: port } = agent.ports;
      const readers = [true, false].map((keep) => readOn(new DeviceReader({ port, path, keep }), stop.signal));
      let standbys = 0;
      const ways = ['SIGHUP', 'SIGUSR2', 'SIGKILL'] as const;
      for (let restart = 0; restart < RESTARTS; restart++) {
        // An agent that is restarted again before the next worker is loaded waits for that.
        const next = `is ready to take over`;
        await agent.until(next, () => agent.lines.filter((line) => line.includes(next)).length > standbys);
        standbys = agent.lines.filter((line) => line.includes(next)).length;
        await sleep(Math.random() * 100);
        const way = ways[restart % ways.length]!;
        const before = agent.workers.length;
        process.kill(way === 'SIGHUP' ? agent.child.pid! : agent.workers.at(-1)!, way);
        await agent.until('the next worker serves', () => agent.workers.length > before);
      }
      await sleep(300);
      stop.abort();
      const results = await Promise.all(readers);
      if (process.env.ACCEL_RESTARTS !== undefined) process.stdout.write(`${JSON.stringify(results)}\n`);
      for (const { reads, errors, longest } of results) {
        expect(errors).toEqual([]);
        expect(reads).toBeGreaterThan(RESTARTS * 5);
        // Set on a machine that does nothing else: a wait depends on it.
        if (process.env.ACCEL_RESTARTS !== undefined) expect(longest).toBeLessThan(1000);
      }
      const reloads = Math.ceil(RESTARTS / ways.length);
      const text = await agent.metrics();
      expect(text).toContain(`accel_agent_worker_restarts_total{reason="crash"} ${RESTARTS - reloads}\n`);
      expect(text).toContain(`accel_agent_worker_restarts_total{reason="reload"} ${reloads}\n`);
      await agent.stop();
    },
    60_000 + RESTARTS * 3_000,
  );

  it('a pull and a device go on when the worker is stopped by SIGSTOP', async () => {
    const agent = await HeldAgent.start({ standbyAfter: 0, silence: 2_000 }, { throttleLimitMB: 3 });
    await agent.until('the next worker waits', () =>
      agent.lines.some((line) => line.includes('is ready to take over')),
    );
    const { clients: port } = agent.ports;
    const got: Buffer[] = [];
    let parts = 0;
    let struck = false;
    // As container runtimes do: what is missing is asked for at the same place.
    for (let size = 0; size < BLOB_BYTES; size = got.reduce((sum, { length }) => sum + length, 0)) {
      parts += 1;
      const headers = size === 0 ? {} : { range: `bytes=${size}-` };
      try {
        const { body, status } = await fetch(`http://127.0.0.1:${port}/v2/demo/blobs/${digest}`, { headers });
        expect(status).toBe(size === 0 ? 200 : 206);
        for await (const chunk of body!) {
          if (!struck) setTimeout(() => process.kill(agent.workers[0]!, 'SIGSTOP'), 100);
          struck = true;
          got.push(Buffer.from(chunk));
        }
      } catch {
        expect(parts).toBeLessThan(5);
      }
    }
    expect(Buffer.concat(got).equals(blob)).toBe(true);
    expect(parts).toBe(2);
    expect(agent.workers).toHaveLength(2);
    const said = `worker ${agent.workers[0]} ended (killed: it is stopped)`;
    expect(agent.lines.filter((line) => line.includes(said))).toHaveLength(1);
    expect(await agent.metrics()).toContain('accel_agent_worker_restarts_total{reason="hung"} 1\n');
    // A read that comes when nobody answers waits for the next worker, and succeeds.
    await agent.until(
      'a third worker waits',
      () => agent.lines.filter((line) => line.includes('is ready to take')).length > 1,
    );
    process.kill(agent.workers[1]!, 'SIGSTOP');
    const reader = new DeviceReader({ port, path, keep: false });
    const { bytes } = await reader.read(READ_BYTES, READ_BYTES);
    reader.close();
    expect(bytes.equals(blob.subarray(READ_BYTES, 2 * READ_BYTES))).toBe(true);
    await agent.stop();
  });

  it('remembers over a crash who may read, and what, while the registry is down', async () => {
    const login = (user: string) => ({ authorization: `Basic ${Buffer.from(user).toString('base64')}` });
    const own = await startDemoRegistry({ layout: folder, login: 'ann:secret' });
    // authTtl is over at once: what counts is the time of grace.
    const agent = await HeldAgent.start({ settled: 0 }, { authTtl: '1ms', authGrace: '1h' }, own.host);
    await agent.until('a worker serves', () => agent.workers.length === 1);
    const url = `http://127.0.0.1:${agent.ports.clients}/dadip2p/http://${own.host}/v2/demo/blobs/${digest}`;
    const read = async (user: string, range = 'bytes=5-1004') => {
      const response = await fetch(url, { headers: { ...login(user), range } });
      return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
    };
    expect((await read('ann:secret')).status).toBe(206);
    expect((await read('eve:guess')).status).toBe(401);
    await agent.until('the piece is on disk', async () =>
      /^accel_agent_cache_used_bytes [1-9]/m.test(await agent.metrics()),
    );
    // The copy is a second old at most.
    await sleep(1_200);
    own.fail(503);
    process.kill(agent.workers[0]!, 'SIGKILL');
    await agent.until('the next worker serves', () => agent.workers.length === 2);
    const { status, bytes } = await read('ann:secret');
    expect(status).toBe(206);
    expect(bytes.equals(blob.subarray(5, 1005))).toBe(true);
    // The size too, which a device asks for first.
    expect(await read('ann:secret', 'bytes=0-0')).toEqual({ status: 206, bytes: blob.subarray(0, 1) });
    expect((await read('eve:guess')).status).toBeGreaterThanOrEqual(500);
    expect(await agent.metrics()).toContain('accel_agent_access_total{outcome="grace"} 2');
    await agent.stop();
    await own.close();
  });
});
