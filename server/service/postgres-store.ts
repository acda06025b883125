/**
 * Statements of the queue on PostgreSQL, each within a transaction of the caller. The table accel.job has the truth about a job; pg-boss
 * schedules it: what is due, in which order, one of a lane at a time, by which process.
 */
import { randomUUID } from 'node:crypto';
import type { Db as IDatabase, PgBoss } from 'pg-boss';
import { jobOfRow } from './job-rows.ts';
import { JOB_COLUMNS } from './postgres-schema.ts';
import {
  type Added,
  COALESCING,
  type Ending,
  type Failure,
  type JobState,
  type Json,
  type Lease,
  MAX_DELAY,
  type NewJob,
  TOPICS,
  type Topic,
} from './queue.ts';
import { lostDelay, lostFailure, MAX_LOST } from './retries.ts';

/** A row of accel.job. */
export type Row = Readonly<Record<string, unknown>>;

/** The queue of pg-boss for a topic. */
export const bossQueue = (topic: Topic): string => `accel_${topic}`;

/** Rows that are removed at a time. */
const TRIM_AT_ONCE = 500;

/** A job that is about to be inserted, with its identifiers. */
interface FreshJob {
  readonly job: NewJob;
  readonly id: string;
  readonly boss: string;
}

/** Joins what is unique among waiting jobs into one text. */
function nameOf(topic: Topic, key: string): string {
  return `${topic} ${key}`;
}

/** The job of pg-boss that schedules one. */
function bossJob({ boss, lane, delay }: { readonly boss: string; readonly lane: string; readonly delay: number }) {
  return { id: boss, group: { id: lane }, ...(delay === 0 ? {} : { startAfter: Math.ceil(delay / 1000) }) };
}

/** The store. `db` of each call is an open transaction. */
export class PostgresStore {
  readonly #boss: PgBoss;

  constructor(boss: PgBoss) {
    this.#boss = boss;
  }

  /** See {@link Queue.add}: adds jobs in few statements, however many there are; `jobs` are in the order of their keys. */
  async addAll(db: IDatabase, jobs: readonly NewJob[]): Promise<Map<NewJob, Added>> {
    const all = new Map<NewJob, Added>();
    const first = new Map<string, NewJob>();
    for (const job of jobs) {
      const name = nameOf(job.topic, job.key);
      if (job.parked === undefined && !first.has(name)) first.set(name, job);
    }
    const found = await this.#withKeys(db, [...first.values()]);
    const fresh: FreshJob[] = [];
    for (const [name, job] of first) {
      const { waiting, running, failed } = found.get(name) ?? {};
      const open = waiting ?? (COALESCING[job.topic] === 'waiting' ? undefined : running);
      if (open !== undefined) all.set(job, { id: open, outcome: 'coalesced' });
      else if (failed === undefined) fresh.push({ job, id: randomUUID(), boss: randomUUID() });
    }
    for (const { job, id } of await this.#insertAll(db, fresh)) all.set(job, { id, outcome: 'added' });
    // Those that follow one with their key, that replace a failed one, or that another process was quicker with.
    for (const job of jobs) if (!all.has(job)) all.set(job, await this.add(db, job));
    return all;
  }

  /** Adds one job. */
  async add(db: IDatabase, job: NewJob): Promise<Added> {
    const { topic, key, lane = key, repository, data, delay = 0, failed = 'revive', parked } = job;
    const open = await this.#openWithKey(db, topic, key);
    if (open !== undefined) return { id: open, outcome: 'coalesced' };
    const where = "topic = $1 AND key = $2 AND state = 'failed'";
    const [old] = await query(db, `SELECT id FROM accel.job WHERE ${where}`, [topic, key]);
    if (old !== undefined) {
      if (failed === 'keep' && parked === undefined) return { id: String(old.id), outcome: 'kept-failed' };
      await query(db, `UPDATE accel.job SET state = 'superseded' WHERE ${where}`, [topic, key]);
    }
    const [id, boss] = [randomUUID(), parked === undefined ? randomUUID() : null];
    const inserted = await query(
      db,
      `INSERT INTO accel.job (id, topic, key, lane, repository, state, data, due, failure, finished, boss)
       VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + $8 * interval '1 millisecond', $9,
         CASE WHEN $9::text IS NULL THEN NULL ELSE clock_timestamp() END, $10)
       ON CONFLICT (topic, key) WHERE state = 'waiting' DO NOTHING RETURNING id`,
      [
        ...[id, topic, key, lane, repository, parked === undefined ? 'waiting' : 'failed', JSON.stringify(data), delay],
        ...[parked === undefined ? null : JSON.stringify(parked), boss],
      ],
    );
    if (inserted.length === 0) {
      // Another process was quicker: its transaction has committed, or the insert would have waited.
      const other = await this.#openWithKey(db, topic, key);
      return other === undefined ? this.add(db, job) : { id: other, outcome: 'coalesced' };
    }
    if (boss !== null) await this.#schedule(db, { boss, topic, lane, delay });
    return { id, outcome: 'added' };
  }

  /** See {@link Queue.take}. */
  async take(db: IDatabase, topic: Topic, limit: number): Promise<Lease[]> {
    // Two fetches at once could both take a job of one lane.
    await query(db, "SELECT pg_advisory_xact_lock(hashtextextended('accel take ' || $1, 0))", [topic]);
    const fetched = await this.#boss.fetch(bossQueue(topic), { batchSize: limit, groupConcurrency: 1, db });
    const leases: Lease[] = [];
    for (const { id: boss } of fetched) {
      const token = randomUUID();
      const [row] = await query(
        db,
        `UPDATE accel.job SET state = 'running', attempts = attempts + 1, started = clock_timestamp(), finished = NULL,
         token = $2, beats = 0, progress = NULL WHERE boss = $1 AND state = 'waiting' RETURNING ${JOB_COLUMNS}`,
        [boss, token],
      );
      if (row === undefined) await this.#boss.complete(bossQueue(topic), boss, null, { db });
      else leases.push({ job: jobOfRow(row), token });
    }
    return leases;
  }

  /** See {@link Queue.renew}. */
  async renew(db: IDatabase, { job, token }: Lease, progress?: Json): Promise<boolean> {
    const sql = `UPDATE accel.job SET beats = beats + 1, progress = coalesce($3, progress)
      WHERE id = $1 AND token = $2 AND state = 'running' RETURNING id`;
    const values = [job.id, token, progress === undefined ? null : JSON.stringify(progress)];
    return (await query(db, sql, values)).length > 0;
  }

  /** See {@link Queue.finish}; without the jobs that follow. */
  async finish(db: IDatabase, { job, token }: Lease, ending: Ending): Promise<boolean> {
    const locked = "SELECT boss, lane FROM accel.job WHERE id = $1 AND token = $2 AND state = 'running' FOR UPDATE";
    const [row] = await query(db, locked, [job.id, token]);
    if (row === undefined) return false;
    await this.#boss.complete(bossQueue(job.topic), String(row.boss), null, { db });
    switch (ending.kind) {
      case 'done':
      case 'superseded':
        if (job.topic !== 'convert') await query(db, 'DELETE FROM accel.job WHERE id = $1', [job.id]);
        else {
          const result = ending.kind === 'done' ? ending.result : { superseded: ending.reason };
          await this.#close(db, job.id, { state: ending.kind, result });
        }
        break;
      case 'failed':
        await this.#close(db, job.id, { state: 'failed', failure: ending.failure });
        break;
      case 'retry':
        await this.#putBack(db, job.id, { delay: Math.min(ending.delay, MAX_DELAY), failure: ending.failure });
        break;
      case 'released':
        if (ending.counts !== true)
          await query(db, 'UPDATE accel.job SET attempts = attempts - 1 WHERE id = $1', [job.id]);
        await this.#putBack(db, job.id, { delay: 0 });
    }
    return true;
  }

  /** Ends a lease that nobody renewed: `beats` of `token` have not changed for the time of a lease. */
  async lose(
    db: IDatabase,
    { id, token, beats }: { id: string; token: string; beats: number },
  ): Promise<Topic | undefined> {
    const sql = `UPDATE accel.job SET lost = lost + 1 WHERE id = $1 AND token = $2 AND beats = $3 AND state = 'running'
      RETURNING topic, lost, boss`;
    const [row] = await query(db, sql, [id, token, beats]);
    if (row === undefined) return undefined;
    const topic = row.topic as Topic;
    await this.#boss.complete(bossQueue(topic), String(row.boss), null, { db });
    const lost = Number(row.lost);
    if (lost < MAX_LOST) await this.#putBack(db, id, { delay: lostDelay(lost) });
    else await this.#close(db, id, { state: 'failed', failure: lostFailure(lost) });
    return topic;
  }

  /** See {@link Queue.retry}. */
  async retry(db: IDatabase, id: string): Promise<boolean> {
    const sql = "SELECT topic, key, lane FROM accel.job WHERE id = $1 AND state = 'failed' FOR UPDATE";
    const [row] = await query(db, sql, [id]);
    if (row === undefined) return false;
    const [topic, key, lane] = [row.topic as Topic, String(row.key), String(row.lane)];
    if ((await this.#openWithKey(db, topic, key)) !== undefined) {
      await query(db, "UPDATE accel.job SET state = 'superseded' WHERE id = $1", [id]);
      return true;
    }
    const boss = randomUUID();
    const update = `UPDATE accel.job SET state = 'waiting', attempts = 0, lost = 0, due = clock_timestamp(), boss = $2
      WHERE id = $1`;
    await query(db, update, [id, boss]);
    await this.#schedule(db, { boss, topic, lane, delay: 0 });
    return true;
  }

  /** See {@link Queue.cancel}. */
  async cancel(db: IDatabase, id: string): Promise<boolean> {
    const sql = `UPDATE accel.job SET state = 'cancelled', token = NULL, finished = clock_timestamp()
      WHERE id = $1 AND state IN ('waiting', 'failed', 'running') RETURNING topic, boss`;
    const [row] = await query(db, sql, [id]);
    if (row === undefined) return false;
    if (row.boss !== null) await this.#boss.cancel(bossQueue(row.topic as Topic), String(row.boss), { db });
    return true;
  }

  /** Removes ended jobs beyond the newest `history` of each state. */
  async trim(db: IDatabase, history: number): Promise<void> {
    for (const topic of TOPICS) {
      for (const state of ['done', 'failed', 'cancelled', 'superseded'] satisfies JobState[]) {
        const sql = `DELETE FROM accel.job WHERE id IN
          (SELECT id FROM accel.job WHERE topic = $1 AND state = $2 ORDER BY seq DESC OFFSET $3 LIMIT ${TRIM_AT_ONCE})`;
        await query(db, sql, [topic, state, history]);
      }
    }
  }

  /** The jobs that have the keys of others, by {@link nameOf} and state. */
  async #withKeys(db: IDatabase, jobs: readonly NewJob[]): Promise<Map<string, Partial<Record<JobState, string>>>> {
    const found = new Map<string, Partial<Record<JobState, string>>>();
    if (jobs.length === 0) return found;
    const states = ['waiting', 'running', 'failed'] satisfies JobState[];
    // One branch for each state: the indexes are by state.
    const branches = states.map(
      (state) =>
        `SELECT j.id, j.state FROM accel.job j WHERE j.topic = n.topic AND j.key = n.key AND j.state = '${state}'`,
    );
    const sql = `SELECT n.topic, n.key, j.id, j.state FROM unnest($1::text[], $2::text[]) AS n (topic, key)
      CROSS JOIN LATERAL (${branches.join(' UNION ALL ')}) j`;
    const rows = await query(db, sql, [jobs.map(({ topic }) => topic), jobs.map(({ key }) => key)]);
    for (const row of rows) {
      const name = nameOf(row.topic as Topic, String(row.key));
      found.set(name, { ...found.get(name), [row.state as JobState]: String(row.id) });
    }
    return found;
  }

  /** Inserts and schedules jobs whose keys nobody has. Returns those that no other process has added meanwhile. */
  async #insertAll(db: IDatabase, fresh: readonly FreshJob[]): Promise<FreshJob[]> {
    if (fresh.length === 0) return [];
    const column = <T>(of: (one: FreshJob) => T): T[] => fresh.map(of);
    const rows = await query(
      db,
      `INSERT INTO accel.job (id, topic, key, lane, repository, state, data, due, boss)
       SELECT id, topic, key, lane, repository, 'waiting', data, clock_timestamp() + delay * interval '1 millisecond', boss
       FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::uuid[])
         AS n (id, topic, key, lane, repository, data, delay, boss)
       ON CONFLICT (topic, key) WHERE state = 'waiting' DO NOTHING RETURNING id`,
      [
        ...[column(({ id }) => id), column(({ job }) => job.topic), column(({ job }) => job.key)],
        ...[column(({ job }) => job.lane ?? job.key), column(({ job }) => job.repository)],
        ...[column(({ job }) => JSON.stringify(job.data)), column(({ job }) => job.delay ?? 0)],
        column(({ boss }) => boss),
      ],
    );
    const ids = new Set(rows.map((row) => String(row.id)));
    const inserted = fresh.filter(({ id }) => ids.has(id));
    for (const topic of TOPICS) {
      const due = inserted.filter(({ job }) => job.topic === topic);
      if (due.length === 0) continue;
      const scheduled = due.map(({ job, boss }) => bossJob({ boss, lane: job.lane ?? job.key, delay: job.delay ?? 0 }));
      await this.#boss.insert(bossQueue(topic), scheduled, { db });
    }
    return inserted;
  }

  async #openWithKey(db: IDatabase, topic: Topic, key: string): Promise<string | undefined> {
    const states: JobState[] = COALESCING[topic] === 'waiting' ? ['waiting'] : ['waiting', 'running'];
    // No IN: the indexes are by state, and the whole table would be read.
    const branches = states.map(
      (state) => `SELECT id FROM accel.job WHERE topic = $1 AND key = $2 AND state = '${state}'`,
    );
    const [row] = await query(db, branches.join(' UNION ALL '), [topic, key]);
    return row === undefined ? undefined : String(row.id);
  }

  async #schedule(
    db: IDatabase,
    { boss, topic, lane, delay }: { boss: string; topic: Topic; lane: string; delay: number },
  ): Promise<void> {
    await this.#boss.insert(bossQueue(topic), [bossJob({ boss, lane, delay })], { db });
  }

  async #close(
    db: IDatabase,
    id: string,
    { state, result, failure }: { state: JobState; result?: Json | undefined; failure?: Failure },
  ): Promise<void> {
    const text = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value));
    const sql = `UPDATE accel.job SET state = $2, finished = clock_timestamp(), failure = $3, result = $4, token = NULL,
      boss = NULL, progress = NULL WHERE id = $1`;
    await query(db, sql, [id, state, text(failure), text(result)]);
  }

  async #putBack(db: IDatabase, id: string, { delay, failure }: { delay: number; failure?: Failure }): Promise<void> {
    const boss = randomUUID();
    const [row] = await query(
      db,
      `UPDATE accel.job j SET state = 'waiting', due = clock_timestamp() + $2 * interval '1 millisecond',
       finished = clock_timestamp(), failure = coalesce($3, failure), token = NULL, progress = NULL, boss = $4
       WHERE id = $1 AND NOT EXISTS
         (SELECT 1 FROM accel.job o WHERE o.topic = j.topic AND o.key = j.key AND o.state = 'waiting')
       RETURNING topic, lane`,
      [id, delay, failure === undefined ? null : JSON.stringify(failure), boss],
    );
    // A later one with the same key waits already.
    if (row === undefined) await query(db, 'DELETE FROM accel.job WHERE id = $1', [id]);
    else await this.#schedule(db, { boss, topic: row.topic as Topic, lane: String(row.lane), delay });
  }
}

/** Runs a statement. */
export async function query(db: IDatabase, sql: string, values: readonly unknown[] = []): Promise<Row[]> {
  return (await db.executeSql(sql, [...values])).rows as Row[];
}
