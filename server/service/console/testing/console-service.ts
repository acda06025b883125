/** The HTTP server of the service with a SQLite queue whose jobs are in all states, for tests of the console. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDirectory } from '../../../../tests/support/tools.ts';
import { createMetrics } from '../../../telemetry/metrics.ts';
import { AccessTokens } from '../../access-tokens.ts';
import type { AgentList } from '../../agents/gather-agents.ts';
import { createApp } from '../../app.ts';
import type { AppContext } from '../../app-context.ts';
import { type ConversionProgress, type ConversionResult, orderData } from '../../conversion.ts';
import { ProgressBus } from '../../progress-bus.ts';
import type { Ending, Failure, Json, Lease, NewJob, Queue } from '../../queue.ts';
import { openSqliteQueue } from '../../sqlite.ts';
import { consoleRoutes } from '../console-routes.ts';

const MIB = 2 ** 20;
const LAYERS = 50;
const HOST = 'registry.example.com';
const LONG = `${HOST}/${'a-department-with-a-long-name/'.repeat(5)}application`;
const FAILURE: Failure = {
  code: 'registry-error',
  message: `the registry refused a blob: ${'it answered with a page of its proxy, which goes on and on; '.repeat(6)}`,
  where: { repository: LONG, digest: `sha256:${'7'.repeat(64)}` },
  expected: 'HTTP 201',
  found: `HTTP 413 ${'x'.repeat(160)}`,
  hint: 'Let the proxy before the registry pass larger bodies.',
  temporary: false,
};

/** A conversion that runs. */
export interface RunningConversion {
  readonly id: string;
  /** Reports this share of each layer as read. */
  move(share: number): Promise<void>;
  finish(): Promise<void>;
}

/** A running server. */
export interface ConsoleService {
  /** `http://127.0.0.1:PORT/`. */
  readonly url: string;
  readonly queue: Queue;
  /** Adds conversions in every state; ids of some. */
  fill(): Promise<{
    readonly running: RunningConversion;
    readonly failed: string;
    readonly done: string;
    readonly waiting: string;
  }>;
  /** Adds conversions that wait. */
  addWaiting(count: number): Promise<void>;
  /** Closes the address, as a service that has stopped. */
  pause(): Promise<void>;
  /** Listens there again. */
  resume(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it on a free port of loopback; with a token, as if others could reach it. */
export async function startConsoleService({
  token,
  agents = { agents: [], images: [] },
}: {
  readonly token?: string;
  readonly agents?: AgentList;
} = {}): Promise<ConsoleService> {
  const folder = await tempDirectory();
  const queue = await openSqliteQueue({ path: join(folder.path, 'queue.db') });
  const file = join(folder.path, 'token');
  await writeFile(file, token ?? 'none');
  const named = token === undefined ? [] : [{ name: 'tester', file, scope: 'write' as const }];
  const tokens = await AccessTokens.load(named, token === undefined);
  const bus = new ProgressBus();
  const context: AppContext = {
    queue,
    bus,
    tokens: () => tokens,
    agents: async () => agents,
    sink: { accept: async () => ({ accepted: 0, dropped: 0 }) },
    hooks: () => new Map(),
    metrics: createMetrics('console'),
    unready: () => [],
    convert: async () => ({ decision: 'accepted', reason: 'a test' }),
    onIgnored: () => undefined,
    audit: () => undefined,
    draining: new AbortController().signal,
    more: [consoleRoutes],
  };
  let app = await createApp(context);
  const url = `${await app.listen({ host: '127.0.0.1', port: 0 })}/`;
  const take = async (): Promise<Lease> => (await queue.take('convert', 1))[0]!;
  /** Adds a conversion, runs it and ends it so. */
  const ended = async (job: NewJob, ending: Ending): Promise<string> => {
    await queue.add([job]);
    const lease = await take();
    await queue.finish(lease, ending);
    return lease.job.id;
  };
  return {
    url,
    queue,
    async fill() {
      const done = await ended(conversion('team/app', '1.0'), { kind: 'done', result: resultOf('team/app', '1.0') });
      await ended(conversion('team/app', '1.1'), { kind: 'done', result: resultOf('team/app', '1.1') });
      await ended(conversion('team/app', 'moved'), { kind: 'superseded', reason: 'the tag has moved' });
      const failed = await ended(conversion('team/broken', '1'), { kind: 'failed', failure: FAILURE });
      await ended(conversion(LONG, `v1-${'long-tag-'.repeat(10)}end`), { kind: 'failed', failure: FAILURE });
      await ended(conversion('team/again', '2'), {
        kind: 'retry',
        delay: 3_000_000,
        failure: { code: 'registry-unreachable', message: 'the registry does not answer', temporary: true },
      });
      await queue.add([conversion('team/big', '3')]);
      const lease = await take();
      const move = async (share: number): Promise<void> => {
        const progress = progressOf(share);
        await queue.renew(lease, progress as unknown as Json);
        bus.publish({ type: 'progress', id: lease.job.id, progress });
      };
      await move(0.3);
      const finish = async (): Promise<void> => {
        await queue.finish(lease, { kind: 'done', result: resultOf('team/big', '3') });
        bus.publish({ type: 'state', id: lease.job.id, state: 'done' });
      };
      const [later, gone] = await queue.add([
        { ...conversion('team/later', '1'), delay: 3_000_000 },
        { ...conversion('team/gone', '1'), delay: 3_000_000 },
      ]);
      await queue.cancel(gone!.id);
      return { running: { id: lease.job.id, move, finish }, failed, done, waiting: later!.id };
    },
    async addWaiting(count) {
      const jobs = Array.from({ length: count }, (_, index) => conversion('team/many', `${index}`));
      await queue.add(jobs.map((job) => ({ ...job, delay: 3_000_000 })));
    },
    pause: () => app.close(),
    async resume() {
      app = await createApp(context);
      await app.listen({ host: '127.0.0.1', port: Number(new URL(url).port) });
    },
    async stop() {
      await app.close();
      await queue.close();
      await folder.remove();
    },
  };
}

function conversion(name: string, tag: string): NewJob {
  const repository = name.startsWith(HOST) ? name : `${HOST}/${name}`;
  const digest = `sha256:${Buffer.from(`${name}:${tag}`).toString('hex').padEnd(64, '0').slice(0, 64)}`;
  const options = { mode: 'full', platforms: [], verify: 'off' } as const;
  const rule = { number: 1, identity: 'one', options };
  const data = orderData({ repository, tag, digest, rule, from: 'distribution' });
  return { topic: 'convert', key: `${repository}:${tag}`, repository, data };
}

function progressOf(share: number): ConversionProgress {
  const layers = Array.from({ length: LAYERS }, (_, index) => {
    const size = (index + 1) * MIB;
    const state = index % 3 === 0 ? ('reused' as const) : ('reading' as const);
    const digest = `sha256:${String(index).padStart(2, '0').repeat(32)}`;
    const read = Math.floor(size * (state === 'reused' ? 1 : share));
    return {
      platform: 'linux/amd64',
      index,
      count: LAYERS,
      digest,
      size,
      read,
      state: index % 7 === 6 ? ('waiting' as const) : state,
    };
  });
  const sum = (name: 'size' | 'read'): number => layers.reduce((total, layer) => total + layer[name], 0);
  return { stage: 'converting', bytes: sum('size'), read: sum('read'), layers };
}

function resultOf(repository: string, tag: string): Json {
  const made = { mediaType: 'application/vnd.oci.image.index.v1+json', upToDate: false };
  const result: ConversionResult = {
    target: `${HOST}/${repository}`,
    source: {
      digest: `sha256:${'a'.repeat(64)}`,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      size: 380 * MIB,
    },
    tags: [
      {
        ...made,
        tag: `${tag}_accelerated`,
        kind: 'full',
        digest: `sha256:${'b'.repeat(64)}`,
        size: 498 * MIB,
        ratio: 1.31,
      },
      {
        ...made,
        tag: `${tag}_containerd_accelerated`,
        kind: 'containerd',
        digest: `sha256:${'c'.repeat(64)}`,
        size: 498 * MIB,
        ratio: 1.31,
      },
    ],
    platforms: ['linux/amd64', 'linux/arm64'],
    warnings: [],
    verified: 'quick',
    seconds: { total: 42, convert: 30, push: 12 },
  };
  return result as unknown as Json;
}
