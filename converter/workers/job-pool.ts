/** Compresses batches and hashes files on several threads at once. */
import type { Worker } from 'node:worker_threads';
import {
  fromPlain,
  type NumberedRequest,
  type PoolReply,
  type PoolRequest,
  type PoolResult,
  threadDied,
} from './messages.ts';

interface Job {
  readonly resolve: (result: PoolResult) => void;
  readonly reject: (error: unknown) => void;
}

/** Jobs that a thread may have at a time: one that it works on and one that waits, so that it never runs dry. */
const JOBS_PER_THREAD = 2;

/** A thread and what it was given. */
interface Thread {
  readonly worker: Worker;
  readonly jobs: Map<number, Job>;
}

/** A queue of jobs and the threads that take them; threads start when they are needed. */
export class JobPool {
  readonly #size: number;
  readonly #start: () => Worker;
  readonly #threads: Thread[] = [];
  #queue: { readonly request: NumberedRequest; readonly job: Job }[] = [];
  #next = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(size: number, start: () => Worker) {
    this.#size = size;
    this.#start = start;
  }

  /** Starts the first thread before there is a job for it. */
  warmUp(): void {
    if (this.#threads.length === 0 && this.#size > 0) this.#grow();
  }

  /** Runs one job; rejects with what it failed with, or when a thread of the pool ended by itself. */
  async run<T extends PoolRequest['type']>(
    request: PoolRequest & { readonly type: T },
  ): Promise<PoolResult & { readonly type: T }> {
    const result = await new Promise<PoolResult>((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure.error);
      this.#queue.push({ request: { id: this.#next++, ...request }, job: { resolve, reject } });
      this.#dispatch();
    });
    if (result.type === 'error') throw fromPlain(result.error);
    return result as PoolResult & { readonly type: T };
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const thread = this.#freeThread();
      if (thread === undefined) return;
      const { request, job } = this.#queue.shift()!;
      thread.jobs.set(request.id, job);
      thread.worker.ref();
      thread.worker.postMessage(request);
    }
  }

  /** The thread with the least to do, a new one before any gets a second job. */
  #freeThread(): Thread | undefined {
    const least = this.#threads.reduce<Thread | undefined>(
      (a, b) => (a !== undefined && a.jobs.size <= b.jobs.size ? a : b),
      undefined,
    );
    if (least !== undefined && (least.jobs.size === 0 || this.#threads.length === this.#size)) {
      return least.jobs.size < JOBS_PER_THREAD ? least : undefined;
    }
    return this.#grow();
  }

  #grow(): Thread {
    const thread: Thread = { worker: this.#start(), jobs: new Map() };
    this.#threads.push(thread);
    thread.worker.on('message', ({ id, ...result }: PoolReply) => {
      thread.jobs.get(id)?.resolve(result);
      thread.jobs.delete(id);
      if (thread.jobs.size === 0) thread.worker.unref();
      this.#dispatch();
    });
    for (const event of ['error', 'exit']) thread.worker.on(event, (cause: unknown) => this.#lost(cause));
    return thread;
  }

  /** A thread is gone. Its jobs are lost, and the others would wait for a place in vain: all of them fail. */
  #lost(cause: unknown): void {
    this.#failure ??= { error: threadDied(cause) };
    for (const { jobs } of this.#threads) {
      for (const job of jobs.values()) job.reject(this.#failure.error);
      jobs.clear();
    }
    for (const { job } of this.#queue) job.reject(this.#failure.error);
    this.#queue = [];
  }
}
