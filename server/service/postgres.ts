/**
 * The queue on PostgreSQL, for any number of processes on any number of machines: pg-boss schedules, accel.job records (postgres-store.ts).
 *
 * A lease has no clock of the wall: each process counts by its monotonic clock for how long a running job's beats have not changed.
 */

import { type Db as IDatabase, PgBoss } from 'pg-boss';
import { AccelError } from '../../base/error.ts';
import { Limiter } from '../../base/limiter.ts';
import { hideSecret } from '../../base/secrets.ts';
import { checkFilter, checkJobs } from './check-jobs.ts';
import { byTopic, jobOfRow } from './job-rows.ts';
import { BOSS_SCHEMA, JOB_COLUMNS, POSTGRES_SCHEMA } from './postgres-schema.ts';
import { bossQueue, PostgresStore, query } from './postgres-store.ts';
import {
  type Added,
  type Job,
  type Lease,
  type NewJob,
  type Queue,
  QueueError,
  type QueueFigures,
  TOPICS,
  type Topic,
} from './queue.ts';
import { assertDatabaseAddress } from './store-address.ts';
import { WorkSignals } from './work-signals.ts';

/** Settings of the queue. */
export interface PostgresOptions {
  /** `postgres://USER:PASSWORD@HOST/DATABASE`. */
  readonly url: string;
  /** Ended conversions that are kept, for each state; 10,000 unless given. */
  readonly history?: number;
  /** Milliseconds; 30 s unless given. */
  readonly leaseTime?: number;
  /** Connections; 10 unless given. */
  readonly connections?: number;
  /** Writes one line of the log. */
  readonly log: (line: string) => void;
}

const LOOK_EVERY = 1_000;
const PROBE_EVERY = 5_000;
const CONNECTIONS = 10;
const CONNECT_TIMEOUT = 5_000;
/** Milliseconds for one statement. */
const STATEMENT_TIMEOUT = 20_000;
/**
 * Every question of the queue has an index that answers it in order. The statistics of a queue that has just grown say that it is empty,
 * and PostgreSQL would read and sort all of it in place of that.
 */
const PLANS = '-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off -c jit=off';
/** Milliseconds that figures are good for: counting takes time in proportion to the queue. */
const FIGURES_AGE = 5_000;
/** And in relation to the time that counting took, so that a long queue is not counted all the time. */
const FIGURES_SHARE = 20;
/** Calls of `add` in one transaction, and those that may wait. */
const MAX_BATCH = 500;
const MAX_PENDING = 20_000;
const TRIM_EVERY = 64;
/** Tries of a transaction that lost against another one. */
const MAX_TRIES = 5;

/** Makes pg-boss keep every job. Nothing is given up by it: retries, leases and history are the store's. */
const QUEUE_OPTIONS = {
  retryLimit: 1_000_000,
  expireInSeconds: 23 * 3600,
  retentionSeconds: 10 * 365 * 86_400,
  deleteAfterSeconds: 3600,
};

/** Connects, and makes the tables where they do not exist. Throws `io-error` where that fails. */
export async function openPostgresQueue(options: PostgresOptions): Promise<Queue> {
  hidePassword(assertDatabaseAddress(options.url));
  const boss = new PgBoss({
    connectionString: options.url,
    schema: BOSS_SCHEMA,
    application_name: 'accel',
    max: options.connections ?? CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT,
    options: `-c statement_timeout=${STATEMENT_TIMEOUT} -c idle_in_transaction_session_timeout=${STATEMENT_TIMEOUT} ${PLANS}`,
    schedule: false,
  });
  // Without a listener an error of a connection would end the process; the calls that fail report it.
  boss.on('error', () => undefined);
  try {
    await boss.start();
    for (const topic of TOPICS) {
      if ((await boss.getQueue(bossQueue(topic))) === null) await boss.createQueue(bossQueue(topic), QUEUE_OPTIONS);
    }
    const db = boss.getDb();
    // Two processes that start at once: one makes the tables.
    await query(
      db,
      `BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('accel schema', 0)); ${POSTGRES_SCHEMA} COMMIT`,
    );
    return new PostgresQueue(boss, db, options);
  } catch (error) {
    await boss.stop({ graceful: false }).catch(() => undefined);
    throw new AccelError('io-error', 'the queue cannot be opened', {
      where: { store: withoutPassword(options.url) },
      expected: 'a PostgreSQL database in which this user may create schemas',
      found: (error as Error).message || String(error),
      cause: error,
    });
  }
}

function hidePassword({ password }: URL): void {
  if (password !== '') hideSecret(decodeURIComponent(password));
}

function withoutPassword(url: string): string {
  const parsed = new URL(url);
  parsed.password = '';
  return parsed.href;
}

interface Waiting {
  readonly jobs: readonly NewJob[];
  readonly resolve: (added: Added[]) => void;
  readonly reject: (error: unknown) => void;
}

class PostgresQueue implements Queue {
  readonly leaseTime: number;
  readonly #boss: PgBoss;
  readonly #db: IDatabase;
  readonly #store: PostgresStore;
  readonly #history: number;
  /** Leaves connections to calls without a transaction, and to pg-boss. */
  readonly #limiter: Limiter;
  readonly #signals = new WorkSignals(LOOK_EVERY);
  readonly #watch = new LeaseWatch();
  readonly #timer: NodeJS.Timeout;
  #waiting: Waiting[] = [];
  #adding: Promise<void> = Promise.resolve();
  #isAdding = false;
  #endings = 0;
  #broken: string | undefined;
  #figures: { until: number; readonly value: Promise<QueueFigures> } | undefined;
  #looking = false;

  constructor(boss: PgBoss, db: IDatabase, options: PostgresOptions) {
    const { leaseTime = 30_000, history = 10_000, connections = CONNECTIONS, log } = options;
    this.#limiter = new Limiter(Math.max(1, connections - 2));
    this.leaseTime = leaseTime;
    this.#boss = boss;
    this.#db = db;
    this.#history = history;
    this.#store = new PostgresStore(boss);
    const look = (): void => void this.#look(log);
    this.#timer = setInterval(look, Math.min(PROBE_EVERY, leaseTime / 3)).unref();
  }

  add(jobs: readonly NewJob[]): Promise<Added[]> {
    return new Promise((resolve, reject) => {
      checkJobs(jobs);
      if (this.#waiting.length >= MAX_PENDING) throw new QueueError('busy', 'too many requests wait for the queue');
      this.#waiting.push({ jobs, resolve, reject });
      if (!this.#isAdding) this.#adding = this.#addAll();
    });
  }

  take(topic: Topic, limit: number): Promise<Lease[]> {
    return this.#within((db) => this.#store.take(db, topic, limit));
  }

  renew(lease: Lease, progress?: Parameters<Queue['renew']>[1]): Promise<boolean> {
    return this.#guard(() => this.#store.renew(this.#db, lease, progress));
  }

  async finish(...[lease, ending, followUp = []]: Parameters<Queue['finish']>): Promise<boolean> {
    checkJobs(followUp);
    const isDone = await this.#within(async (db) => {
      if (!(await this.#store.finish(db, lease, ending))) return false;
      for (const job of inOrder(followUp)) await this.#store.add(db, job);
      this.#endings++;
      if (this.#endings % TRIM_EVERY === 0) await this.#store.trim(db, this.#history);
      return true;
    });
    this.#signals.added(followUp);
    this.#signals.wake(lease.job.topic);
    return isDone;
  }

  get(id: string): Promise<Job | undefined> {
    return this.#guard(async () => {
      if (!UUID.test(id)) return undefined;
      const [row] = await query(this.#db, `SELECT ${JOB_COLUMNS} FROM accel.job WHERE id = $1`, [id]);
      return row === undefined ? undefined : jobOfRow(row);
    });
  }

  async list(filter: Parameters<Queue['list']>[0]): Promise<Job[]> {
    checkFilter(filter);
    const { topic, state, repository, after, limit } = filter;
    const values: unknown[] = [topic, limit];
    const where = ['topic = $1'];
    const add = (text: string, value: unknown): void => {
      values.push(value);
      where.push(text.replace('?', `$${values.length}`));
    };
    if (state !== undefined) add('state = ?', state);
    if (repository !== undefined) add('repository = ?', repository);
    if (after !== undefined) add('seq < (SELECT seq FROM accel.job WHERE id = ?)', UUID.test(after) ? after : null);
    const sql = `SELECT ${JOB_COLUMNS} FROM accel.job WHERE ${where.join(' AND ')} ORDER BY seq DESC LIMIT $2`;
    return this.#guard(async () => (await query(this.#db, sql, values)).map(jobOfRow));
  }

  async retry(id: string): Promise<boolean> {
    if (!UUID.test(id)) return false;
    const isWaiting = await this.#within((db) => this.#store.retry(db, id));
    if (isWaiting) this.#signals.wake('convert');
    return isWaiting;
  }

  async cancel(id: string): Promise<boolean> {
    return UUID.test(id) && this.#within((db) => this.#store.cancel(db, id));
  }

  figures(): Promise<QueueFigures> {
    const now = performance.now();
    if (this.#figures === undefined || now > this.#figures.until) {
      const figures = { until: Number.POSITIVE_INFINITY, value: this.#guard(() => this.#count()) };
      figures.value.then(
        () => {
          const ended = performance.now();
          figures.until = Math.max(now + FIGURES_AGE, ended + FIGURES_SHARE * (ended - now));
        },
        () => {
          this.#figures = undefined;
        },
      );
      this.#figures = figures;
    }
    return this.#figures.value;
  }

  onWork(topic: Topic, callback: () => void): () => void {
    return this.#signals.on(topic, callback);
  }

  unready(): string | undefined {
    return this.#broken;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#signals.close();
    await this.#adding;
    await this.#boss.stop({ graceful: false });
  }

  /** Adds what waits, in one transaction for all; then what came meanwhile. */
  async #addAll(): Promise<void> {
    this.#isAdding = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_BATCH);
      const jobs = batch.flatMap((one) => one.jobs);
      try {
        const added = await this.#within((db) => this.#store.addAll(db, inOrder(jobs)));
        for (const one of batch) one.resolve(one.jobs.map((job) => added.get(job)!));
        this.#signals.added(jobs);
      } catch (error) {
        for (const one of batch) one.reject(error);
      }
    }
    // In the same turn as the look at what waits: nothing comes in between.
    this.#isAdding = false;
  }

  async #count(): Promise<QueueFigures> {
    const rows = await query(
      this.#db,
      `SELECT topic, state, count(*)::int AS jobs FROM accel.job WHERE state IN ('waiting', 'running', 'failed')
       GROUP BY topic, state`,
    );
    const oldest = await query(
      this.#db,
      `SELECT topic, extract(epoch FROM clock_timestamp() - min(due)) * 1000 AS age FROM accel.job
       WHERE state = 'waiting' GROUP BY topic`,
    );
    const of = (state: string) =>
      byTopic((topic) => Number(rows.find((row) => row.topic === topic && row.state === state)?.jobs ?? 0));
    const age = (topic: Topic): number => Number(oldest.find((row) => row.topic === topic)?.age ?? 0);
    return {
      waiting: of('waiting'),
      running: of('running'),
      failed: of('failed'),
      oldest: byTopic((topic) => Math.max(0, age(topic))),
    };
  }

  /** Looks for leases that nobody renews, and whether the database answers. */
  async #look(log: (line: string) => void): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const sql = "SELECT id, token, beats FROM accel.job WHERE state = 'running'";
      const rows = await this.#guard(() => query(this.#db, sql));
      for (const dead of this.#watch.silent(rows, this.leaseTime)) {
        const topic = await this.#within((db) => this.#store.lose(db, dead));
        if (topic === undefined) continue;
        log(`the process that ran job ${dead.id} is gone: it runs again`);
        this.#signals.wake(topic);
      }
    } catch {
      // #guard has noted it for readiness.
    } finally {
      this.#looking = false;
    }
  }

  /** Runs `body` in a transaction; again where it met another one. */
  async #within<T>(body: (db: IDatabase) => Promise<T>): Promise<T> {
    // A call that finds no connection would fail; it waits for its turn in place of that.
    return this.#limiter.run(() => this.#guard(() => this.#attempt(body)));
  }

  async #attempt<T>(body: (db: IDatabase) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      const transaction = await this.#db.beginTransaction!();
      try {
        const result = await body(transaction.db);
        await transaction.commit();
        return result;
      } catch (error) {
        await transaction.rollback();
        if (!CONFLICTS.includes(codeOf(error)) || tries >= MAX_TRIES) throw error;
      }
    }
  }

  async #guard<T>(body: () => Promise<T>): Promise<T> {
    try {
      const result = await body();
      this.#broken = undefined;
      return result;
    } catch (error) {
      if (error instanceof QueueError) throw error;
      const isFull = codeOf(error) === DISK_FULL;
      const message = isFull ? 'the disk of PostgreSQL is full' : 'PostgreSQL does not serve the queue';
      this.#broken = `${message}: ${(error as Error).message || codeOf(error)}`;
      throw new QueueError(isFull ? 'full' : 'unavailable', message, error);
    }
  }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Codes of PostgreSQL: deadlock, serialization failure, unique violation against a transaction that ran at the same time. */
const CONFLICTS: readonly string[] = ['40P01', '40001', '23505'];
const DISK_FULL = '53100';

function codeOf(error: unknown): string {
  return String((error as { readonly code?: unknown }).code ?? '');
}

/** Two transactions that add the same keys take their locks in one order. */
function inOrder(jobs: readonly NewJob[]): NewJob[] {
  return jobs.toSorted((a, b) => (a.topic + a.key < b.topic + b.key ? -1 : 1));
}

/** Notices running jobs whose beats do not change. */
class LeaseWatch {
  #seen = new Map<string, { readonly beats: number; readonly since: number }>();

  silent(
    rows: readonly Readonly<Record<string, unknown>>[],
    leaseTime: number,
  ): { id: string; token: string; beats: number }[] {
    const now = performance.now();
    const seen = new Map<string, { readonly beats: number; readonly since: number }>();
    const dead: { id: string; token: string; beats: number }[] = [];
    for (const row of rows) {
      const [id, token, beats] = [String(row.id), String(row.token), Number(row.beats)];
      const last = this.#seen.get(token);
      const since = last?.beats === beats ? last.since : now;
      seen.set(token, { beats, since });
      if (now - since > leaseTime) dead.push({ id, token, beats });
    }
    this.#seen = seen;
    return dead;
  }
}
