/**
 * The embedded queue: a file of SQLite, written by a thread (sqlite-thread.ts), so that a flush of the disk does not keep the event loop.
 * One process has the file at a time.
 */
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { AccelError } from '../../base/error.ts';
import { makeFolder } from '../../disk/make-folder.ts';
import { checkFilter, checkJobs } from './check-jobs.ts';
import { type Added, type Job, type Lease, type Queue, QueueError, type QueueFigures, type Topic } from './queue.ts';
import type { SqliteCall, SqliteOpened, SqliteReply, SqliteRequest, SqliteThreadOptions } from './sqlite-messages.ts';
import { WorkSignals } from './work-signals.ts';

/** Settings of the embedded queue. */
export interface SqliteOptions {
  readonly path: string;
  /** Ended conversions that are kept, for each state; 10,000 unless given. */
  readonly history?: number;
  /** Milliseconds; 30 s unless given. */
  readonly leaseTime?: number;
  /** Bytes that must be free on the file system; 16 MiB unless given. */
  readonly keepFree?: number;
  /** Limit of the file in pages of 4096 bytes. */
  readonly maxPages?: number;
  /** Milliseconds that an open waits for a process that is about to end; 5 s unless given. */
  readonly patience?: number;
}

/** Calls that may wait for the thread; more are refused. */
const MAX_PENDING = 20_000;
/** Milliseconds between two looks for work that nobody announced. */
const LOOK_EVERY = 1_000;
/** Milliseconds between two tries to write while that fails. */
const PROBE_EVERY = 2_000;

/**
 * Opens the queue in a file, and makes the file and its folder where they do not exist. Throws `io-error` where that fails, and where
 * another process has the file.
 */
export async function openSqliteQueue(options: SqliteOptions): Promise<Queue> {
  const { path, history = 10_000, leaseTime = 30_000, keepFree = 16 * 2 ** 20, maxPages, patience = 5_000 } = options;
  await makeFolder(dirname(path)).catch((cause: Error) => {
    throw new AccelError('io-error', 'the folder of the queue cannot be made', {
      where: { key: 'service.store', file: path },
      expected: 'a folder in which this process may write',
      found: cause.message,
      hint: 'Make the folder and give it to the user of accel serve, or name another one in service.store.',
      cause,
    });
  });
  const data: SqliteThreadOptions = {
    path,
    history,
    leaseTime,
    keepFree,
    patience,
    ...(maxPages === undefined ? {} : { maxPages }),
  };
  const worker = new Worker(threadFile(), { workerData: data });
  const opened = await new Promise<SqliteOpened>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  if (!opened.opened) {
    await worker.terminate();
    throw new AccelError('io-error', 'the queue cannot be opened', {
      where: { file: path },
      expected: opened.locked ? 'a file that no other process uses' : 'a database of accel serve, or no file',
      found: opened.message,
      ...(opened.locked
        ? { hint: 'End the other accel serve; several processes need service.store: postgres://…' }
        : {
            hint: opened.message.includes('not a database')
              ? 'Name another file in service.store: this one is of something else.'
              : `The user of accel serve has to be able to write ${dirname(path)} and all that is in it.`,
          }),
    });
  }
  return new SqliteQueue(worker, leaseTime);
}

/** The thread's file: beside this one, in the sources, in dist/ and in the bundle. */
function threadFile(): URL {
  const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./sqlite-thread.${ending}`, import.meta.url);
}

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

class SqliteQueue implements Queue {
  readonly leaseTime: number;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #signals = new WorkSignals(LOOK_EVERY);
  #outgoing: SqliteRequest[number][] = [];
  #next = 0;
  #broken: string | undefined;
  #ended: string | undefined;
  #probe: NodeJS.Timeout | undefined;

  constructor(worker: Worker, leaseTime: number) {
    this.leaseTime = leaseTime;
    this.#worker = worker;
    worker.on('message', (reply: SqliteReply) => this.#answered(reply));
    worker.on('error', (error) => this.#lost(error.message));
    worker.on('exit', () => this.#lost('it has ended'));
  }

  async add(jobs: Parameters<Queue['add']>[0]): Promise<Added[]> {
    checkJobs(jobs);
    const added = await this.#call<Added[]>({ name: 'add', jobs });
    this.#signals.added(jobs);
    return added;
  }

  take(topic: Topic, limit: number): Promise<Lease[]> {
    return this.#call({ name: 'take', topic, limit });
  }

  renew(lease: Lease, progress?: Parameters<Queue['renew']>[1]): Promise<boolean> {
    return this.#call({ name: 'renew', lease, progress });
  }

  async finish(...[lease, ending, followUp = []]: Parameters<Queue['finish']>): Promise<boolean> {
    checkJobs(followUp);
    const isDone = await this.#call<boolean>({ name: 'finish', lease, ending, followUp });
    this.#signals.added(followUp);
    // The lane is free.
    this.#signals.wake(lease.job.topic);
    return isDone;
  }

  get(id: string): Promise<Job | undefined> {
    return this.#call({ name: 'get', id });
  }

  async list(filter: Parameters<Queue['list']>[0]): Promise<Job[]> {
    checkFilter(filter);
    return this.#call({ name: 'list', filter });
  }

  async retry(id: string): Promise<boolean> {
    const isWaiting = await this.#call<boolean>({ name: 'retry', id });
    if (isWaiting) this.#signals.wake('convert');
    return isWaiting;
  }

  cancel(id: string): Promise<boolean> {
    return this.#call({ name: 'cancel', id });
  }

  figures(): Promise<QueueFigures> {
    return this.#call({ name: 'figures' });
  }

  onWork(topic: Topic, callback: () => void): () => void {
    return this.#signals.on(topic, callback);
  }

  unready(): string | undefined {
    return this.#ended ?? this.#broken;
  }

  async close(): Promise<void> {
    clearTimeout(this.#probe);
    this.#signals.close();
    if (this.#ended === undefined) await this.#call({ name: 'close' });
    this.#ended = 'the queue is closed';
    await this.#worker.terminate();
  }

  #call<T>(call: SqliteCall): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended !== undefined) return reject(new QueueError('unavailable', this.#ended));
      if (this.#pending.size >= MAX_PENDING)
        return reject(new QueueError('busy', 'too many requests wait for the queue'));
      const number = this.#next++;
      this.#pending.set(number, { resolve, reject });
      // One message for all calls of this turn of the event loop.
      if (this.#outgoing.length === 0) setImmediate(() => this.#send());
      this.#outgoing.push({ ...call, call: number });
    });
  }

  #send(): void {
    const calls = this.#outgoing;
    this.#outgoing = [];
    if (this.#ended === undefined) this.#worker.postMessage(calls);
  }

  #answered(reply: SqliteReply): void {
    const pending = this.#pending.get(reply.call);
    this.#pending.delete(reply.call);
    if ('value' in reply) {
      pending?.resolve(reply.value as never);
      return;
    }
    const { refusal, message, cause } = reply;
    pending?.reject(new QueueError(refusal, message, new Error(cause)));
    this.#broken = `${message}: ${cause}`;
    this.#probeLater();
  }

  /** Tries to write until that works. */
  #probeLater(): void {
    this.#probe ??= setTimeout(() => {
      this.#probe = undefined;
      this.#call({ name: 'probe' }).then(
        () => {
          this.#broken = undefined;
        },
        () => undefined,
      );
    }, PROBE_EVERY).unref();
  }

  #lost(reason: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = `the thread of the queue does not run: ${reason}`;
    for (const { reject } of this.#pending.values()) reject(new QueueError('unavailable', this.#ended));
    this.#pending.clear();
  }
}
