/**
 * The embedded queue on SQLite, synchronous; sqlite-thread.ts runs it off the event loop. Calls are made within a transaction of the caller,
 * and leases, which are in memory, change only when it is committed.
 *
 * One process owns the file, so a lease needs no clock of the wall: it is measured by the monotonic clock, and all leases of a process
 * that was killed end when the file is opened again.
 */
import { randomUUID } from 'node:crypto';
import { DatabaseSync, type SqlValue, type StatementSync } from 'node:sqlite';
import { byTopic, jobOfRow } from './job-rows.ts';
import {
  type Added,
  COALESCING,
  type Ending,
  type Failure,
  type Job,
  type JobFilter,
  type JobState,
  type Json,
  type Lease,
  MAX_DELAY,
  type NewJob,
  type QueueFigures,
  TOPICS,
  type Topic,
} from './queue.ts';
import { lostDelay, lostFailure, MAX_LOST } from './retries.ts';
import { SCHEMA, SCHEMA_VERSION } from './sqlite-schema.ts';

/** Settings of the store. */
export interface SqliteStoreOptions {
  readonly path: string;
  /** Milliseconds after which a lease ends that is not renewed. */
  readonly leaseTime: number;
  /** Ended conversions that are kept, for each state. */
  readonly history: number;
  /** Milliseconds that an open waits for a process that is about to end. */
  readonly patience: number;
  /** Limit of the file in pages of 4096 bytes; a test's disk that is full. */
  readonly maxPages?: number;
}

/** Endings between two looks for history that is too long. */
const TRIM_EVERY = 64;
/** Rows that are removed at a time. */
const TRIM_AT_ONCE = 500;

interface OpenLease {
  readonly token: string;
  readonly topic: Topic;
  ends: number;
  progress?: Json;
}

/**
 * The store. Statements name their index: without statistics SQLite takes the one by state for a key, and reads all that waits.
 * Methods other than the constructor are called between BEGIN and COMMIT.
 */
export class SqliteStore {
  readonly #db: DatabaseSync;
  readonly #options: SqliteStoreOptions;
  readonly #statements = new Map<string, StatementSync>();
  readonly #leases = new Map<string, OpenLease>();
  /** Changes of leases that wait for the commit. */
  #after: (() => void)[] = [];
  #endings = 0;

  /** Opens the file, or makes it. Throws SQLite's errors: `database is locked` where another process has it. */
  constructor(options: SqliteStoreOptions) {
    this.#options = options;
    this.#db = new DatabaseSync(options.path, { timeout: options.patience });
    try {
      // Exclusive: a second process cannot open the file, and the lock of a killed one is gone with it.
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
      this.#db.exec('PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000;');
      if (options.maxPages !== undefined) this.#db.exec(`PRAGMA max_page_count = ${options.maxPages}`);
      const version = Number(this.#db.prepare('PRAGMA user_version').get()?.user_version ?? 0);
      if (version > SCHEMA_VERSION) throw new Error(`the queue was written by a newer version (schema ${version})`);
      this.#db.exec(`BEGIN IMMEDIATE; ${SCHEMA}`);
      this.#recover();
      this.commit();
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** Begins a transaction. */
  begin(): void {
    this.#db.exec('BEGIN IMMEDIATE');
  }

  /** Commits: everything since `begin` is on disk, or the call throws and nothing is. */
  commit(): void {
    this.#db.exec('COMMIT');
    for (const apply of this.#after) apply();
    this.#after = [];
  }

  /** Gives a transaction up. */
  rollback(): void {
    this.#after = [];
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
  }

  /** Closes the file. */
  close(): void {
    this.#db.close();
  }

  /** Writes something, to see whether that works. */
  probe(): void {
    this.#run('INSERT INTO probe VALUES (1, ?) ON CONFLICT DO UPDATE SET written = excluded.written', Date.now());
  }

  /** See {@link Queue.add}. */
  add(jobs: readonly NewJob[]): Added[] {
    return jobs.map((job) => this.#addOne(job));
  }

  /** See {@link Queue.take}. */
  take(topic: Topic, limit: number): Lease[] {
    this.#endLeases();
    const leases: Lease[] = [];
    while (leases.length < limit) {
      const row = this.#nextDue(topic);
      if (row === undefined) break;
      this.#run(
        "UPDATE job SET state = 'running', attempts = attempts + 1, started = ?, finished = NULL WHERE seq = ?",
        Date.now(),
        row.seq!,
      );
      const job = jobOfRow(this.#get('SELECT * FROM job WHERE seq = ?', row.seq!)!);
      const token = randomUUID();
      const ends = performance.now() + this.#options.leaseTime;
      this.#after.push(() => this.#leases.set(job.id, { token, topic, ends }));
      leases.push({ job, token });
    }
    return leases;
  }

  /** See {@link Queue.renew}. Writes nothing: leases and progress are in memory. */
  renew({ job, token }: Lease, progress?: Json): boolean {
    const open = this.#leases.get(job.id);
    if (open?.token !== token) return false;
    open.ends = performance.now() + this.#options.leaseTime;
    if (progress !== undefined) open.progress = progress;
    return true;
  }

  /** See {@link Queue.finish}. */
  finish({ job, token }: Lease, ending: Ending, followUp: readonly NewJob[]): boolean {
    if (this.#leases.get(job.id)?.token !== token) return false;
    this.#after.push(() => this.#leases.delete(job.id));
    this.#end(job, ending);
    for (const next of followUp) this.#addOne(next);
    this.#endings++;
    if (this.#endings % TRIM_EVERY === 0) this.#trim();
    return true;
  }

  /** See {@link Queue.get}. */
  get(id: string): Job | undefined {
    const row = this.#get('SELECT * FROM job WHERE id = ?', id);
    return row === undefined ? undefined : this.#withProgress(jobOfRow(row));
  }

  /** See {@link Queue.list}. */
  list({ topic, state, repository, after, limit }: JobFilter): Job[] {
    const values: SqlValue[] = [topic];
    let where = 'topic = ?';
    if (state !== undefined) {
      where += ' AND state = ?';
      values.push(state);
    }
    if (repository !== undefined) {
      where += ' AND repository = ?';
      values.push(repository);
    }
    if (after !== undefined) {
      where += ' AND seq < (SELECT seq FROM job WHERE id = ?)';
      values.push(after);
    }
    return this.#prepare(`SELECT * FROM job WHERE ${where} ORDER BY seq DESC LIMIT ?`)
      .all(...values, limit)
      .map((row) => this.#withProgress(jobOfRow(row)));
  }

  /** See {@link Queue.retry}. */
  retry(id: string): boolean {
    const row = this.#get("SELECT seq, topic, key FROM job WHERE id = ? AND state = 'failed'", id);
    if (row === undefined) return false;
    const other = this.#openWithKey(row.topic as Topic, String(row.key));
    this.#run(
      'UPDATE job SET state = ?, attempts = 0, lost = 0, due = ? WHERE seq = ?',
      other === undefined ? 'waiting' : 'superseded',
      Date.now(),
      row.seq!,
    );
    return true;
  }

  /** See {@link Queue.cancel}. */
  cancel(id: string): boolean {
    const sql =
      "UPDATE job SET state = 'cancelled', finished = ? WHERE id = ? AND state IN ('waiting', 'failed', 'running')";
    const isChanged = this.#run(sql, Date.now(), id) > 0;
    if (isChanged) this.#after.push(() => this.#leases.delete(id));
    return isChanged;
  }

  /** See {@link Queue.figures}. */
  figures(): QueueFigures {
    const counts = this.#prepare('SELECT topic, state, jobs FROM figure').all();
    const of = (state: JobState) =>
      byTopic((topic) => Number(counts.find((row) => row.topic === topic && row.state === state)?.jobs ?? 0));
    const now = Date.now();
    return {
      waiting: of('waiting'),
      running: of('running'),
      failed: of('failed'),
      oldest: byTopic((topic) => {
        const sql = "SELECT due FROM job INDEXED BY job_due WHERE topic = ? AND state = 'waiting' ORDER BY due LIMIT 1";
        const due = this.#get(sql, topic)?.due;
        return due === undefined ? 0 : Math.max(0, now - Number(due));
      }),
    };
  }

  #addOne(job: NewJob): Added {
    const { topic, key, lane = key, repository, data, delay = 0, failed = 'revive', parked } = job;
    const open = this.#openWithKey(topic, key);
    if (open !== undefined) return { id: open, outcome: 'coalesced' };
    const old = this.#get(
      "SELECT id FROM job INDEXED BY job_failed WHERE topic = ? AND key = ? AND state = 'failed'",
      topic,
      key,
    );
    if (old !== undefined) {
      if (failed === 'keep' && parked === undefined) return { id: String(old.id), outcome: 'kept-failed' };
      this.#run(
        "UPDATE job INDEXED BY job_failed SET state = 'superseded' WHERE topic = ? AND key = ? AND state = 'failed'",
        topic,
        key,
      );
    }
    const id = randomUUID();
    const now = Date.now();
    this.#run(
      `INSERT INTO job (id, topic, key, lane, repository, state, data, due, created, finished, failure)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[id, topic, key, lane, repository, parked === undefined ? 'waiting' : 'failed', JSON.stringify(data)],
      ...[now + delay, now, parked === undefined ? null : now, parked === undefined ? null : JSON.stringify(parked)],
    );
    return { id, outcome: 'added' };
  }

  /** The id of a job that a new one with this key is one with. */
  #openWithKey(topic: Topic, key: string): string | undefined {
    const waiting = this.#get(
      "SELECT id FROM job INDEXED BY job_waiting WHERE topic = ? AND key = ? AND state = 'waiting'",
      topic,
      key,
    );
    if (waiting !== undefined) return String(waiting.id);
    if (COALESCING[topic] === 'waiting') return undefined;
    const running = this.#get(
      "SELECT id FROM job INDEXED BY job_running WHERE topic = ? AND state = 'running' AND key = ?",
      topic,
      key,
    );
    return running === undefined ? undefined : String(running.id);
  }

  #nextDue(topic: Topic): Record<string, SqlValue> | undefined {
    const free = `NOT EXISTS (SELECT 1 FROM job r INDEXED BY job_running WHERE r.topic = j.topic AND r.lane = j.lane AND r.state = 'running')`;
    const select = `SELECT seq FROM job j INDEXED BY job_due WHERE topic = ? AND state = 'waiting' AND %s AND ${free} ORDER BY due, seq LIMIT 1`;
    const now = Date.now();
    return (
      this.#get(select.replace('%s', 'due <= ?'), topic, now) ??
      // By a clock that was set back since.
      this.#get(select.replace('%s', 'due > ?'), topic, now + MAX_DELAY)
    );
  }

  #end(job: Job, ending: Ending): void {
    const now = Date.now();
    switch (ending.kind) {
      case 'done':
      case 'superseded':
        // Only conversions have a history.
        if (job.topic !== 'convert') this.#run('DELETE FROM job WHERE id = ?', job.id);
        else {
          const result = ending.kind === 'done' ? ending.result : { superseded: ending.reason };
          const sql = 'UPDATE job SET state = ?, finished = ?, failure = NULL, result = ? WHERE id = ?';
          this.#run(sql, ending.kind, now, result === undefined ? null : JSON.stringify(result), job.id);
        }
        break;
      case 'failed': {
        const sql = "UPDATE job SET state = 'failed', finished = ?, failure = ? WHERE id = ?";
        this.#run(sql, now, JSON.stringify(ending.failure), job.id);
        break;
      }
      case 'retry':
        this.#putBack(job.id, { due: now + Math.min(ending.delay, MAX_DELAY), failure: ending.failure });
        break;
      case 'released':
        if (ending.counts !== true) this.#run('UPDATE job SET attempts = attempts - 1 WHERE id = ?', job.id);
        this.#putBack(job.id, { due: now });
    }
  }

  /** A running job waits again, unless a later one with the same key waits already. */
  #putBack(id: string, { due, failure }: { readonly due: number; readonly failure?: Failure }): void {
    const row = this.#get('SELECT topic, key FROM job WHERE id = ?', id)!;
    const sql = "SELECT 1 AS found FROM job INDEXED BY job_waiting WHERE topic = ? AND key = ? AND state = 'waiting'";
    if (this.#get(sql, row.topic!, row.key!) !== undefined) {
      this.#run('DELETE FROM job WHERE id = ?', id);
      return;
    }
    this.#run(
      "UPDATE job SET state = 'waiting', due = ?, finished = ?, failure = coalesce(?, failure) WHERE id = ?",
      ...[due, Date.now(), failure === undefined ? null : JSON.stringify(failure), id],
    );
  }

  /** Jobs whose leases were not renewed wait again. */
  #endLeases(): void {
    const now = performance.now();
    for (const [id, { ends }] of this.#leases) {
      if (ends > now) continue;
      this.#after.push(() => this.#leases.delete(id));
      this.#lose(id);
    }
  }

  /** After a process was killed: its leases are gone with its memory. */
  #recover(): void {
    for (const { id } of this.#prepare("SELECT id FROM job WHERE state = 'running'").all()) this.#lose(String(id));
  }

  #lose(id: string): void {
    this.#run('UPDATE job SET lost = lost + 1 WHERE id = ?', id);
    const lost = Number(this.#get('SELECT lost FROM job WHERE id = ?', id)?.lost ?? 0);
    if (lost < MAX_LOST) {
      this.#putBack(id, { due: Date.now() + lostDelay(lost) });
      return;
    }
    const sql = "UPDATE job SET state = 'failed', finished = ?, failure = ? WHERE id = ?";
    this.#run(sql, Date.now(), JSON.stringify(lostFailure(lost)), id);
  }

  #trim(): void {
    for (const topic of TOPICS) {
      for (const state of ['done', 'failed', 'cancelled', 'superseded'] satisfies JobState[]) {
        this.#run(
          `DELETE FROM job WHERE seq IN
           (SELECT seq FROM job WHERE topic = ? AND state = ? ORDER BY seq DESC LIMIT ${TRIM_AT_ONCE} OFFSET ?)`,
          ...[topic, state, this.#options.history],
        );
      }
    }
  }

  #withProgress(job: Job): Job {
    const progress = job.state === 'running' ? this.#leases.get(job.id)?.progress : undefined;
    return progress === undefined ? job : { ...job, progress };
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #get(sql: string, ...values: SqlValue[]): Record<string, SqlValue> | undefined {
    return this.#prepare(sql).get(...values);
  }

  #run(sql: string, ...values: SqlValue[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }
}
