/**
 * Measures what docs/benchmarks.md says of the conversion service: events accepted a second, each on disk, conversions an hour beside the
 * command line in a loop, and memory. `node dist/scripts/run-on-server-node.js dist/bench/service.js [--write] [--check]`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { pushMadeImage } from '../server/demo/push-image.ts';
import { openPostgresQueue } from '../server/service/postgres.ts';
import { openSqliteQueue } from '../server/service/sqlite.ts';
import { freePort } from '../tests/support/loopback.ts';
import { startPostgres } from '../tests/support/postgres.ts';
import { startRegistry } from '../tests/support/registry.ts';
import { CLI } from './convert.ts';
import { machine } from './machine.ts';
import { figure, markdownTable } from './report.ts';
import { writeSection } from './section.ts';

const { values } = parseArgs({
  options: { write: { type: 'boolean', default: false }, check: { type: 'boolean', default: false } },
});

/** Events of a run, and connections that send them. */
const EVENTS = 10_000;
const SENDERS = 64;
const IMAGES = 12;
/** Bytes of one of the four layers of an image. */
const LAYER = 4 * 2 ** 20;
/** Milliseconds after which a process that serves counts as idle. */
const SETTLE = 10_000;
const PATIENCE = 120_000;
/** The bars: events a second on SQLite, conversions in relation to the loop, MiB of both roles in one process. */
const LEAST_EVENTS = 500;
const LEAST_CONVERSIONS = 0.95;
const MOST_IDLE = 120;

const broken: string[] = [];
const folder = await mkdtemp(join(tmpdir(), 'accel-bench-service-'));

interface Service {
  readonly child: ChildProcess;
  readonly url: string;
  log: string;
}

/** Starts the published command and waits until it serves. */
async function serve(host: string, store: string, args: readonly string[] = []): Promise<Service> {
  const port = await freePort();
  const config = join(folder, `config-${port}.yaml`);
  const service = { listen: `127.0.0.1:${port}`, store, hooks: { distribution: {} }, reconcile: { interval: 0 } };
  const rules = [{ repositories: [`${host}/**`] }];
  const text = { registries: [{ host, plain: true }], rules, service, telemetry: { listen: '127.0.0.1:0' } };
  await writeFile(config, JSON.stringify(text));
  const child = spawn(process.execPath, [CLI, 'serve', '-c', config, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  const started: Service = { child, url: `http://127.0.0.1:${port}`, log: '' };
  child.stderr.setEncoding('utf8').on('data', (said: string) => {
    started.log += said;
  });
  await until(async () => (await fetch(`${started.url}/readyz`).catch(() => undefined))?.status === 200, started);
  return started;
}

async function until(look: () => Promise<boolean>, { child, log }: Service): Promise<void> {
  for (const end = performance.now() + PATIENCE; !(await look()); await sleep(20)) {
    if (child.exitCode !== null || performance.now() > end) throw new Error(`the service does not go on: ${log}`);
  }
}

async function end({ child }: Service, signal: NodeJS.Signals): Promise<void> {
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

function envelope(host: string, repository: string, tag: string): string {
  const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', repository, tag };
  return JSON.stringify({ events: [{ action: 'push', target, request: { host } }] });
}

/** Posts one envelope; its status. */
function post(url: string, agent: Agent, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    request(`${url}/hooks/distribution`, { method: 'POST', agent, headers }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode!));
    })
      .once('error', reject)
      .end(body);
  });
}

/** Sends all events; seconds until the last one was accepted. Throws for one that was not. */
async function sendAll(url: string, host: string): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: SENDERS });
  let next = 0;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: SENDERS }, async () => {
      for (let event = next++; event < EVENTS; event = next++) {
        const status = await post(url, agent, envelope(host, `team/app-${event % 100}`, `v${event}`));
        if (status !== 202) throw new Error(`an event was answered with HTTP ${status}`);
      }
    }),
  );
  agent.destroy();
  return (performance.now() - started) / 1000;
}

/** Bytes of memory, as the kernel has them: now, and at most. */
async function memoryOf({ child }: Service): Promise<{ readonly now: number; readonly most: number }> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
  const of = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
  return { now: of('VmRSS'), most: of('VmHWM') };
}

interface EventFigures {
  readonly rate: number;
  readonly idle: number;
  readonly most: number;
}

/** Events of one store: accepted, then the process is killed, and the queue is counted. */
async function measureEvents(store: string, args: readonly string[] = []): Promise<EventFigures> {
  // A registry that never answers: looking at events takes nothing from those that are accepted.
  const silent = createServer(() => undefined);
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const host = `127.0.0.1:${(silent.address() as { port: number }).port}`;
  const service = await serve(host, store, args);
  await sleep(SETTLE);
  const { now: idle } = await memoryOf(service);
  const seconds = await sendAll(service.url, host);
  const { most } = await memoryOf(service);
  await end(service, 'SIGKILL');
  silent.close();
  const queue = store.startsWith('postgres')
    ? await openPostgresQueue({ url: store, log: () => undefined })
    : await openSqliteQueue({ path: store });
  const { waiting, running } = await queue.figures();
  await queue.close();
  const kept = waiting.event + running.event;
  if (kept !== EVENTS) throw new Error(`${EVENTS} events were accepted, and ${kept} are there after SIGKILL`);
  return { rate: EVENTS / seconds, idle, most };
}

/** Conversions an hour: the command line one after another, and the service after all events at once. */
async function measureConversions(): Promise<{ readonly loop: number; readonly service: number }> {
  const registry = await startRegistry();
  const names = ['loop', 'service'];
  for (const name of names)
    for (let image = 0; image < IMAGES; image += 1) await pushMadeImage(`${registry.host}/${name}/app:${image}`, LAYER);
  const loopStarted = performance.now();
  for (let image = 0; image < IMAGES; image += 1) {
    const args = ['convert', `${registry.host}/loop/app:${image}`, '--plain', '--quiet'];
    const [code] = await once(
      spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'ignore', 'inherit'] }),
      'exit',
    );
    if (code !== 0) throw new Error(`accel convert ended with ${code}`);
  }
  const loop = performance.now() - loopStarted;
  const service = await serve(registry.host, join(folder, 'conversions.db'));
  const agent = new Agent({ keepAlive: true });
  const started = performance.now();
  for (let image = 0; image < IMAGES; image += 1)
    await post(service.url, agent, envelope(registry.host, 'service/app', `${image}`));
  await until(async () => service.log.split(': converted ').length - 1 >= IMAGES, service);
  const served = performance.now() - started;
  agent.destroy();
  await end(service, 'SIGTERM');
  await registry.stop();
  const anHour = (milliseconds: number): number => (IMAGES / milliseconds) * 3_600_000;
  return { loop: anHour(loop), service: anHour(served) };
}

function bar(name: string, held: boolean): void {
  if (!held) broken.push(name);
}

try {
  const sqlite = await measureEvents(join(folder, 'events.db'));
  const server = await startPostgres({ durable: true });
  const postgres = await measureEvents(await server.database('events'), ['--role', 'api']);
  const both = await serve('registry.example.com', await server.database('idle'));
  await sleep(SETTLE);
  const { now: idlePostgres } = await memoryOf(both);
  await end(both, 'SIGTERM');
  await server.stop();
  const conversions = await measureConversions();
  const share = conversions.service / conversions.loop;
  const mebibytes = (bytes: number): string => figure(bytes / 2 ** 20, 0);
  bar('events a second', sqlite.rate >= LEAST_EVENTS);
  bar('conversions', share >= LEAST_CONVERSIONS);
  bar('memory', Math.max(sqlite.idle, idlePostgres) <= MOST_IDLE * 2 ** 20);
  const events = markdownTable(
    ['store', 'events a second', 'idle, both roles, MiB', 'most, MiB'],
    [
      ['SQLite', figure(sqlite.rate, 0), mebibytes(sqlite.idle), mebibytes(sqlite.most)],
      ['PostgreSQL', figure(postgres.rate, 0), mebibytes(idlePostgres), `${mebibytes(postgres.most)} (API alone)`],
    ],
  );
  const hours = markdownTable(
    ['converted by', 'images an hour', '×'],
    [
      ['accel convert in a loop', figure(conversions.loop, 0), '1.00'],
      ['accel serve, one at a time', figure(conversions.service, 0), figure(share, 2)],
    ],
  );
  const text = `## The conversion service

${events}

${EVENTS} events of distribution, each of another tag, are posted over ${SENDERS} connections by a process on the same machine; each is answered
with 202. The service is killed (SIGKILL) after the last answer, and its queue has all of them. The registry does not answer,
so that looking at events takes nothing from accepting them. Both stores flush each commit to disk; calls that wait meanwhile share the
next one. Idle is the resident memory ${SETTLE / 1000} s after the start. Bars: ${LEAST_EVENTS} events a second on SQLite, ${MOST_IDLE} MiB idle.

${hours}

${IMAGES} images of four layers of ${LAYER / 2 ** 20} MiB in docker-registry on the same machine, both tags each. The loop starts the command for each; the
service gets all events at once, looks at each and starts a process for each. Bar: ${LEAST_CONVERSIONS}.

Machine: ${machine()}.`;
  process.stdout.write(`${text}\n`);
  if (values.write) await writeSection('service', text);
  for (const name of broken) process.stderr.write(`over the limit: ${name}\n`);
  if (values.check && broken.length > 0) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
