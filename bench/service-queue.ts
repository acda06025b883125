/**
 * Measures the service's queue while it has few jobs and a million: what is added, taken, ended and listed a second must not fall.
 * `node dist/scripts/run-on-server-node.js dist/bench/service-queue.js [--write] [--check]`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openPostgresQueue } from '../server/service/postgres.ts';
import type { NewJob, Queue } from '../server/service/queue.ts';
import { openSqliteQueue } from '../server/service/sqlite.ts';
import { startPostgres } from '../tests/support/postgres.ts';
import { machine } from './machine.ts';
import { figure, markdownTable } from './report.ts';
import { writeSection } from './section.ts';

const { values } = parseArgs({
  options: { write: { type: 'boolean', default: false }, check: { type: 'boolean', default: false } },
});

const FEW = 1_000;
const MANY = 1_000_000;
const BATCH = 500;
/** Calls of each kind that are timed, and those of them that wait at a time. */
const CALLS = 400;
const AT_ONCE = 4;
/** Least speed with many jobs in relation to few, over all calls. */
const LEAST = 0.5;

interface Speeds {
  /** Calls a second. */
  readonly add: number;
  readonly work: number;
  /** Milliseconds. */
  readonly page: number;
  readonly figures: number;
}

function job(index: number): NewJob {
  const repository = `registry.example.com/team/app-${index % 1000}`;
  const data = { kind: 'distribution', registry: 'registry.example.com', repository: 'team/app', tag: `v${index}` };
  return { topic: 'convert', key: `${repository}:v${index}`, repository, data };
}

async function seconds(body: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await body();
  return (performance.now() - started) / 1000;
}

let added = 10 * MANY;

/** Times the calls that the service makes all the time. */
async function measure(queue: Queue): Promise<Speeds> {
  const inParallel = (body: () => Promise<unknown>): Promise<unknown> =>
    Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let call = 0; call < CALLS / AT_ONCE; call += 1) await body();
      }),
    );
  const add = await seconds(() => inParallel(() => queue.add([job(added++)])));
  const work = await seconds(() =>
    inParallel(async () => {
      const [lease] = await queue.take('convert', 1);
      if (lease === undefined) throw new Error('there is nothing to take');
      await queue.finish(lease, { kind: 'done', result: {} });
    }),
  );
  const page = await seconds(() => queue.list({ topic: 'convert', state: 'waiting', limit: 50 }));
  const figures = await seconds(() => queue.figures());
  return { add: CALLS / add, work: CALLS / work, page: page * 1000, figures: figures * 1000 };
}

async function fill(queue: Queue, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at += BATCH)
    await queue.add(Array.from({ length: BATCH }, (_, index) => job(at + index)));
}

/** Rows as the queue writes them, by the database itself: to add a million one after another would take an hour. */
const FILL = `
INSERT INTO accel.job (id, topic, key, lane, repository, state, data, boss)
SELECT gen_random_uuid(), 'convert', 'k' || n, 'k' || n, 'registry.example.com/team/app-' || n % 1000, 'waiting',
  '{"kind":"distribution","registry":"registry.example.com","repository":"team/app","tag":"v' || n || '"}', gen_random_uuid()
FROM generate_series(1, ${MANY}) AS n;
INSERT INTO accel_boss.job (id, name, group_id, retry_limit, expire_seconds, keep_until)
SELECT boss, 'accel_convert', lane, 1000000, 82800, now() + interval '10 years' FROM accel.job
WHERE key LIKE 'k%' AND state = 'waiting';
ANALYZE accel.job;
ANALYZE accel_boss.job;`;

const folder = await mkdtemp(join(tmpdir(), 'accel-bench-queue-'));
const rows: string[][] = [];
let slowest = 1;

function report(store: string, few: Speeds, many: Speeds): void {
  for (const [count, one] of [
    [FEW, few],
    [MANY, many],
  ] as const) {
    const cells = [figure(one.add, 0), figure(one.work, 0), figure(one.page, 1), figure(one.figures, 1)];
    rows.push([store, count.toLocaleString('en'), ...cells]);
  }
  slowest = Math.min(slowest, many.add / few.add, many.work / few.work);
}

try {
  const sqlite = await openSqliteQueue({ path: join(folder, 'queue.db') });
  await fill(sqlite, 0, FEW);
  const few = await measure(sqlite);
  const filled = await seconds(() => fill(sqlite, FEW, MANY));
  report('SQLite', few, await measure(sqlite));
  await sqlite.close();
  const server = await startPostgres({ durable: true });
  const url = await server.database('queue');
  const postgres = await openPostgresQueue({ url, log: () => undefined });
  await fill(postgres, 0, FEW);
  const fewer = await measure(postgres);
  await server.sql(url, FILL);
  report('PostgreSQL', fewer, await measure(postgres));
  await postgres.close();
  await server.stop();
  const head = ['store', 'jobs', 'added a second', 'taken and ended a second', 'page of 50, ms', 'figures, ms'];
  const text = `## A queue of a million jobs

${markdownTable(head, rows)}

${CALLS} calls of each kind, ${AT_ONCE} at a time, one job each, every commit flushed to disk. SQLite took ${figure((MANY - FEW) / filled, 0)} jobs a second while
it was filled, ${BATCH} a call; the rows of PostgreSQL were written by the database itself. Bar: with a million jobs no less than ${LEAST} of the
calls a second with a thousand; it was ${figure(slowest, 2)}.

Machine: ${machine()}.`;
  process.stdout.write(`${text}\n`);
  if (values.write) await writeSection('service-queue', text);
  if (values.check && slowest < LEAST) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
