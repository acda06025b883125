/** A thread that compresses batches and hashes files, one after another. */
import type { Worker } from 'node:worker_threads';
import { fromPlain, type Job, type JobReply, type JobResult, threadDied } from './worker-messages.ts';

interface Waiting {
  readonly resolve: (result: JobResult) => void;
  readonly reject: (error: unknown) => void;
}

/** A worker of the role `jobs`. It keeps the process alive while it has jobs. */
export class JobThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', ({ id, ...result }: JobReply) => {
      this.#waiting.get(id)?.resolve(result);
      this.#waiting.delete(id);
      if (this.#waiting.size === 0) worker.unref();
    });
    for (const event of ['error', 'exit']) worker.on(event, (cause: unknown) => this.#lost(cause));
  }

  /** Whether it still takes jobs. */
  get isAlive(): boolean {
    return this.#failure === undefined;
  }

  /** Runs a job after those before it; rejects with its failure, or if the thread ended unexpectedly. */
  async run<T extends Job['type']>(job: Job & { readonly type: T }): Promise<JobResult & { readonly type: T }> {
    const result = await new Promise<JobResult>((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure.error);
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ id, ...job });
    });
    if (result.type === 'error') throw fromPlain(result.error);
    return result as JobResult & { readonly type: T };
  }

  #lost(cause: unknown): void {
    this.#failure ??= { error: threadDied(cause) };
    for (const { reject } of this.#waiting.values()) reject(this.#failure.error);
    this.#waiting.clear();
  }
}
