/**
 * Lets five agents on loopback run for an hour under a steady stream of pulls, and writes what each of them holds, once a minute,
 * to a CSV file: `node dist/scripts/run-on-server-node.js dist/server/lab/soak.js --minutes 60 --csv soak.csv`. Images are
 * random and larger than a cache; clients leave in the middle; nodes 3 to 5 are restarted in turn, 1 and 2 never.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomFillSync, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { issueNodeCertificate } from '../agent/certificates.ts';
import { createAuthority } from '../certificates/authority.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { writeImageLayout } from '../demo/image-layout.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    csv: { type: 'string', default: 'soak.csv' },
    /** Seconds between two images. */
    every: { type: 'string', default: '20' },
  },
});

const NODES = 5;
/** The first port; each node takes three. */
const FIRST_PORT = 46_001;
const MIB = 2 ** 20;
const LAYERS = [40 * MIB + 1, 32 * MIB, 24 * MIB + 12_345, 1000];
const CACHE = { capacity: '64Mi', memory: '32Mi', keepFree: 0 };
/** Images between two restarts. */
const RESTART_EVERY = 15;
const COLUMNS = ['minute', 'node', 'pid', 'age', 'rss_mb', 'files', 'pulls', 'failed'];
/** Gauges of the agent that must not grow either. */
const GAUGES = ['pieces_in_flight', 'swarms', 'tracked_swarms', 'cache_pieces', 'cache_memory_bytes', 'origin_queue'];

interface Node {
  readonly number: number;
  readonly config: string;
  readonly clients: string;
  readonly telemetry: string;
  child: ChildProcess;
  started: number;
}

setPriority(19);
const folder = await mkdtemp(join(tmpdir(), 'accel-soak-'));
const log = join(folder, 'agents.log');
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());
const counts = { pulls: 0, failed: 0 };
await writeFile(values.csv, `${[...COLUMNS, ...GAUGES].join(',')}\n`);
await writeImageLayout(folder, [Buffer.from('x')]);
const registry = await startDemoRegistry({ layout: folder });
const nodes = await startNodes(registry);
try {
  const end = performance.now() + Number(values.minutes) * 60_000;
  const sampled = sample(performance.now(), end);
  const images: (readonly string[])[] = [];
  for (let round = 1; performance.now() < end && !stopping.signal.aborted; round++) {
    images.push(await oneImage());
    if (images.length > 2) await remove(images.shift()!);
    if (round % RESTART_EVERY === 0) await restart(nodes[2 + ((round / RESTART_EVERY) % (NODES - 2))]!, round);
    await sleep(Number(values.every) * 1000, undefined, { signal: stopping.signal }).catch(() => undefined);
  }
  stopping.abort();
  await sampled;
  console.log(`${counts.pulls} pulls, ${counts.failed} failed; ${values.csv}`);
} finally {
  for (const { child } of nodes) child.kill('SIGKILL');
  await registry.close();
  if (counts.failed === 0) await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  else console.log(`logs: ${log}`);
}

async function startNodes({ host }: DemoRegistry): Promise<Node[]> {
  const validity = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 86_400_000) };
  const authority = await createAuthority('the soak', validity);
  const port = (number: number, which: number) => `127.0.0.1:${FIRST_PORT + (number - 1) * 3 + which}`;
  const members = Array.from({ length: NODES }, (_, index) => port(index + 1, 0));
  const made: Node[] = [];
  for (let number = 1; number <= NODES; number++) {
    const own = join(folder, `node-${number}`);
    await mkdir(own);
    const { cert, key } = await issueNodeCertificate(authority, port(number, 0), validity);
    const files = { caFile: join(own, 'ca.pem'), certFile: join(own, 'cert.pem'), keyFile: join(own, 'key.pem') };
    await writeFile(files.caFile, authority.cert);
    await writeFile(files.certFile, cert);
    await writeFile(files.keyFile, key, { mode: 0o600 });
    const config = join(own, 'accel.yaml');
    const settings = {
      registries: [{ host, plain: true }],
      telemetry: { listen: port(number, 2) },
      agent: {
        listen: port(number, 1),
        peerListen: port(number, 0),
        advertise: port(number, 0),
        peers: { static: members, certificates: files },
        cache: { ...CACHE, path: join(own, 'cache') },
        contentStore: join(own, 'none'),
      },
    };
    // JSON is YAML.
    await writeFile(config, JSON.stringify(settings));
    made.push({ number, config, clients: port(number, 1), telemetry: port(number, 2), ...start(config) });
  }
  await Promise.all(made.map(ready));
  return made;
}

function start(config: string): Pick<Node, 'child' | 'started'> {
  const program = join(import.meta.dirname, 'run-agent.js');
  const child = spawn(process.execPath, [program, config], { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.on('data', (chunk: Buffer) => void appendFile(log, chunk).catch(() => undefined));
  return { child, started: performance.now() };
}

async function ready({ telemetry, number }: Node): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const answer = await fetch(`http://${telemetry}/readyz`).catch(() => undefined);
    if (answer?.ok) return;
    await sleep(100);
  }
  throw new Error(`node ${number} is not ready after a minute: ${log}`);
}

/** Restarts a node, by SIGTERM and by SIGKILL in turn. */
async function restart(node: Node, round: number): Promise<void> {
  const gone = once(node.child, 'exit');
  node.child.kill((round / RESTART_EVERY) % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
  await gone;
  Object.assign(node, start(node.config));
  await ready(node);
}

/** Makes an image, and pulls it on two to five nodes at once. The digests of its blobs. */
async function oneImage(): Promise<readonly string[]> {
  const scale = 0.5 + randomInt(100) / 100;
  const { layers, manifest } = await writeImageLayout(
    folder,
    LAYERS.map((bytes) => randomFillSync(Buffer.allocUnsafe(Math.floor(bytes * scale)))),
  );
  const pulling = nodes.toSorted(() => randomInt(3) - 1).slice(0, 2 + randomInt(NODES - 1));
  const users = pulling.map((node, index) =>
    index === 0 && randomInt(3) === 0
      ? leaveEarly(node, layers[0]!.digest)
      : randomInt(4) === 0
        ? readLazily(node, layers[0]!)
        : pull(node, manifest, layers),
  );
  for (const result of await Promise.allSettled(users)) {
    counts.pulls += 1;
    if (result.status === 'fulfilled') continue;
    counts.failed += 1;
    await appendFile(log, `soak: ${String((result.reason as Error).stack)}\n`);
  }
  return [manifest, ...layers.map(({ digest }) => digest)];
}

async function pull({ clients }: Node, manifest: string, layers: readonly { digest: string }[]): Promise<void> {
  const base = `http://${clients}/v2/soak/image`;
  await (await get(`${base}/manifests/${manifest}`)).arrayBuffer();
  for (const result of await Promise.allSettled(layers.map(({ digest }) => check(`${base}/blobs/${digest}`, digest))))
    if (result.status === 'rejected') throw result.reason;
}

async function check(url: string, digest: string): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of (await get(url)).body!) hash.update(chunk as Uint8Array);
  if (`sha256:${hash.digest('hex')}` !== digest) throw new Error(`${url} has other bytes`);
}

async function leaveEarly({ clients }: Node, digest: string): Promise<void> {
  const left = new AbortController();
  const got = await fetch(`http://${clients}/v2/soak/image/blobs/${digest}`, { signal: left.signal });
  const reader = got.body!.getReader();
  await reader.read();
  await sleep(randomInt(300));
  left.abort();
  await reader.cancel().catch(() => undefined);
}

async function readLazily({ clients }: Node, { digest, size }: { digest: string; size: number }): Promise<void> {
  const url = `http://${clients}/dadip2p/http://${registry.host}/v2/soak/image/blobs/${digest}`;
  for (let reads = 0; reads < 40; reads++) {
    const from = randomInt(Math.max(1, size - 262_144));
    const bytes = await (await get(url, { range: `bytes=${from}-${from + 262_143}` })).arrayBuffer();
    if (bytes.byteLength !== Math.min(262_144, size - from))
      throw new Error(`${url} is ${bytes.byteLength} bytes long`);
  }
}

async function get(url: string, headers: Record<string, string> = {}): Promise<Response> {
  const got = await fetch(url, { headers });
  if (!got.ok) throw new Error(`${url} answers ${got.status}: ${await got.text()}`);
  return got;
}

async function remove(digests: readonly string[]): Promise<void> {
  for (const digest of digests) await rm(join(folder, 'blobs', digest.replace(':', '/')), { force: true });
}

/** Writes a line a node, once a minute, until the end. */
async function sample(began: number, end: number): Promise<void> {
  while (performance.now() < end && !stopping.signal.aborted) {
    await sleep(60_000, undefined, { signal: stopping.signal }).catch(() => undefined);
    const minute = Math.round((performance.now() - began) / 60_000);
    for (const node of nodes) await appendFile(values.csv, `${(await measure(node, minute)).join(',')}\n`);
  }
}

async function measure({ number, child, started, telemetry }: Node, minute: number): Promise<(number | string)[]> {
  const { pid } = child;
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const text = await fetch(`http://${telemetry}/metrics`)
    .then((got) => got.text())
    .catch(() => '');
  const gauges = GAUGES.map((name) =>
    Number(new RegExp(`^accel_agent_${name}(?:{[^}]*})? (\\S+)`, 'm').exec(text)?.[1]),
  );
  const rss = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
  const age = Math.round((performance.now() - started) / 1000);
  return [minute, number, pid ?? '', age, rss.toFixed(1), files.length, counts.pulls, counts.failed, ...gauges];
}
