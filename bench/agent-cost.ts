/**
 * Measures what an agent costs, in bytes that it moves for each second of its processor time: bytes given to clients and bytes given
 * to other agents, over user and system time of all processes of the agent. Several agents on loopback with certificates pull an
 * image together; one agent alone gives its client what comes from the registry, from its disk and from its memory. All pieces and
 * blobs are checked. The registry and the clients are in this process and do not count.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchServerNode, serverNode } from '../scripts/server-node.ts';
import { issueNodeCertificate } from '../server/agent/certificates.ts';
import { createAuthority } from '../server/certificates/authority.ts';
import { type DemoRegistry, startDemoRegistry } from '../server/demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../server/demo/image-layout.ts';
import type { BenchOptions, Outcome } from './options.ts';
import { figure, markdownTable, median } from './report.ts';

/** Agents that pull together, layers of the image, and MiB of a layer at full size and of the one that warms the agents up. */
const AGENTS = 4;
const LAYERS = 4;
const LAYER_MEBIBYTES = 128;
const FIRST_MEBIBYTES = 8;
/** The limits that the agent sets itself: MB a processor second, MB of resident memory. */
const LEAST_RATE = 200;
const MOST_RESIDENT = 512;
/** Clock ticks of the kernel in a second, as /proc counts processor time on Linux. */
const TICKS = 100;
const START_MS = 60_000;
/** Milliseconds in which what waits is written to disk. */
const SETTLE_MS = 3_000;

/** Pulls of the small image that is in memory. */
const MEMORY_PULLS = 8;

/** Ways that bytes take; the first is the one that the limit is for. */
const WAYS = {
  peers: `${AGENTS} agents: other agents and registry → agent → client and other agents`,
  origin: 'one agent: registry → client',
  disk: 'one agent: disk → client',
  memory: 'one agent: memory → client',
} as const;
type Way = keyof typeof WAYS;

interface Moved {
  readonly way: Way;
  /** Bytes given to clients and to other agents, in MB, for each second of processor time. */
  readonly rate: number;
  /** The clients' alone. */
  readonly clientRate: number;
  /** Largest resident memory of an agent so far, in MB. */
  readonly resident: number;
  /** Counts the images that the registry sent. */
  readonly originRatio: number;
}

/** Measures agents. Linux alone: processor time is read from /proc. */
export async function measureAgentCost({ directory, scale, rounds, log }: BenchOptions): Promise<Outcome> {
  if (process.platform !== 'linux') return { skipped: 'processor time is read from /proc' };
  await fetchServerNode();
  const measured: Moved[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const agents of [AGENTS, 1]) {
      const moved = await measureRound(directory, scale, agents);
      for (const { way, rate } of moved) log(`agent-cost: round ${round}, ${way}: ${figure(rate, 0)} MB a CPU second`);
      measured.push(...moved);
    }
  }
  const rows = (Object.keys(WAYS) as Way[]).map((way) => {
    const of = measured.filter((one) => one.way === way);
    const rates = of.map(({ rate }) => rate);
    return {
      rate: median(rates),
      cells: [
        WAYS[way],
        `${figure(median(rates), 0)} (${figure(Math.min(...rates), 0)}–${figure(Math.max(...rates), 0)})`,
        figure(median(of.map(({ clientRate }) => clientRate)), 0),
        figure(Math.max(...of.map(({ resident }) => resident)), 0),
        figure(median(of.map(({ originRatio }) => originRatio)), 3),
      ],
    };
  });
  const table = markdownTable(
    ['way', 'MB moved a CPU second', 'to clients alone', 'peak RSS MB', 'from the registry, × the image'],
    rows.map(({ cells }) => cells),
  );
  const { rate } = rows[0]!;
  const resident = Math.max(...measured.map((one) => one.resident));
  const about = `Agents with certificates on loopback; an image of ${LAYERS} layers of ${figure(LAYER_MEBIBYTES * scale, 0)} MiB, which ${AGENTS} of them pull at the same time, and one alone twice; memory: ${LAYERS} layers of ${FIRST_MEBIBYTES} MiB, ${MEMORY_PULLS} times. Moved is what goes to clients and to other agents; processor time is user and system time of all processes of the agent. Each piece and each blob is checked.`;
  return {
    text: `## What an agent costs\n\n${about}\n\n${table}`,
    verdicts: [
      { text: `${figure(rate, 0)} MB a CPU second, at least ${LEAST_RATE}`, held: rate >= LEAST_RATE },
      { text: `${figure(resident, 0)} MB resident, at most ${MOST_RESIDENT}`, held: resident <= MOST_RESIDENT },
    ],
  };
}

async function measureRound(directory: string, scale: number, agents: number): Promise<Moved[]> {
  const folder = await mkdtemp(join(directory, 'agent-'));
  const children: ChildProcess[] = [];
  const registries: DemoRegistry[] = [];
  try {
    const images: Source[] = [];
    for (const mebibytes of [FIRST_MEBIBYTES, LAYER_MEBIBYTES * scale]) {
      const layout = join(folder, `image-${images.length}`);
      await mkdir(layout);
      const layers = Array.from({ length: LAYERS }, () => randomBytes(Math.ceil(mebibytes * 2 ** 20)));
      const image = await writeImageLayout(layout, layers);
      const registry = await startDemoRegistry({ layout });
      registries.push(registry);
      images.push({ image, registry });
    }
    const hosts = registries.map(({ host }) => host);
    const urls = await startAgents({ folder, hosts, agents, children });
    const ids = children.map(({ pid }) => pid!);
    const [small, large] = images as [Source, Source];
    const measure = async (way: Way, { image, registry }: Source, times = 1): Promise<Moved> => {
      const [before, sentBefore] = [await Promise.all(ids.map(ticksOf)), registry.blobBytes()];
      for (let time = 0; time < times; time++) await Promise.all(urls.map((url) => pull(url, { image, registry })));
      const after = await Promise.all(ids.map(ticksOf));
      const seconds = after.reduce((sum, ticks, at) => sum + ticks - before[at]!, 0) / TICKS;
      const bytes = image.layers.reduce((sum, { size }) => sum + size, 0);
      const sent = registry.blobBytes() - sentBefore;
      const toClients = urls.length * times * bytes;
      // An agent gets from another one whatever does not come from the registry.
      const toPeers = agents === 1 ? 0 : toClients - sent;
      return {
        way,
        rate: (toClients + toPeers) / 1e6 / seconds,
        clientRate: toClients / 1e6 / seconds,
        resident: Math.max(...(await Promise.all(ids.map(residentPeak)))),
        originRatio: sent / bytes,
      };
    };
    await Promise.all(urls.map((url) => pull(url, small)));
    if (agents > 1) return [await measure('peers', large)];
    const memory = await measure('memory', small, MEMORY_PULLS);
    const origin = await measure('origin', large);
    // The image is larger than the memory for pieces, and what was read first has left it.
    await sleep(SETTLE_MS);
    return [origin, await measure('disk', large), memory];
  } finally {
    await Promise.all(children.map(stop));
    await Promise.all(registries.map((registry) => registry.close()));
    await rm(folder, { recursive: true, force: true });
  }
}

/** An image and where it is. */
interface Source {
  readonly image: MadeImage;
  readonly registry: DemoRegistry;
}

/** Starts the agents: where their clients reach them. */
async function startAgents({
  folder,
  hosts,
  agents,
  children,
}: {
  readonly folder: string;
  readonly hosts: readonly string[];
  readonly agents: number;
  /** Where their processes are added. */
  readonly children: ChildProcess[];
}): Promise<string[]> {
  const ports = await freePorts(3 * agents);
  const validity = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 86_400_000) };
  const authority = await createAuthority('agents of a benchmark', validity);
  const members = ports.slice(0, agents).map((port) => `127.0.0.1:${port}`);
  for (const [at, id] of members.entries()) {
    const own = join(folder, `agent-${at}`);
    await mkdir(own);
    const { cert, key } = await issueNodeCertificate(authority, id, validity);
    const files = { 'ca.pem': authority.cert, 'cert.pem': cert, 'key.pem': key };
    for (const [name, text] of Object.entries(files)) await writeFile(join(own, name), text, { mode: 0o600 });
    const settings = {
      registries: hosts.map((host) => ({ host, plain: true })),
      telemetry: { listen: `127.0.0.1:${ports[2 * agents + at]}` },
      agent: {
        listen: `127.0.0.1:${ports[agents + at]}`,
        peerListen: id,
        advertise: id,
        peers: {
          static: members,
          certificates: { caFile: join(own, 'ca.pem'), certFile: join(own, 'cert.pem'), keyFile: join(own, 'key.pem') },
        },
        cache: { path: join(own, 'cache'), keepFree: 0.01 },
        contentStore: join(own, 'content'),
        throttleLimitMB: 0,
        ratelimit: '0',
      },
    };
    // JSON is YAML.
    await writeFile(join(own, 'accel.yaml'), JSON.stringify(settings));
    const script = join(import.meta.dirname, '../server/lab/run-agent.js');
    children.push(spawn(serverNode(), [script, join(own, 'accel.yaml')], { stdio: ['ignore', 'ignore', 'inherit'] }));
  }
  const ready = ports.slice(2 * agents).map((port) => `http://127.0.0.1:${port}/readyz`);
  await Promise.all(ready.map(untilReady));
  return ports.slice(agents, 2 * agents).map((port) => `http://127.0.0.1:${port}`);
}

async function untilReady(url: string): Promise<void> {
  const end = performance.now() + START_MS;
  while ((await get(url).catch(() => 0)) === 0) {
    if (performance.now() > end) throw new Error(`an agent does not get ready: ${url}`);
    await sleep(100);
  }
}

async function pull(url: string, { image, registry }: Source): Promise<void> {
  const base = `${url}/v2/team/app`;
  await get(`${base}/manifests/latest?ns=${registry.host}`);
  await Promise.all(
    image.layers.map(async ({ digest, size }) => {
      const bytes = await get(`${base}/blobs/${digest}?ns=${registry.host}`);
      if (bytes !== size) throw new Error(`${bytes} of ${size} bytes came`);
    }),
  );
}

/** Reads an answer and throws it away: its bytes. Rejects for any status but 200. */
function get(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(bytes);
        else reject(new Error(`${url} answers ${response.statusCode}`));
      });
    });
    request.on('error', reject);
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  // The worker ends with it, and writes no more into the folder.
  child.kill('SIGTERM');
  await gone;
}

/** Clock ticks of an agent: of the process that holds its sockets and of its workers. */
async function ticksOf(id: number): Promise<number> {
  const ticks = (await processesOf(id)).map(async (one) => {
    const text = await readFile(`/proc/${one}/stat`, 'utf8');
    // The name, in parentheses, may contain spaces.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  return (await Promise.all(ticks)).reduce((sum, part) => sum + part, 0);
}

/** Peak of the resident memory of the process of an agent that had most, in MB: the worker that serves. */
async function residentPeak(id: number): Promise<number> {
  const peaks = (await processesOf(id)).map(async (one) => {
    const text = await readFile(`/proc/${one}/status`, 'utf8');
    return (Number(/^VmHWM:\s+(\d+)/m.exec(text)?.[1]) * 1024) / 1e6;
  });
  return Math.max(...(await Promise.all(peaks)));
}

/** A process and its children. */
async function processesOf(id: number): Promise<number[]> {
  const children = await readFile(`/proc/${id}/task/${id}/children`, 'utf8');
  return [id, ...children.split(' ').filter(Boolean).map(Number)];
}

/** Ports of loopback that are free now. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
