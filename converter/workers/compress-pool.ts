/** Compresses batches on several threads at once. */
import type { Worker } from 'node:worker_threads';
import type { AccelError } from '../../base/error.ts';
import type { BlockCompressor, CompressedBatch } from '../../formats/zfile/writer.ts';
import { type CompressReply, type CompressRequest, fromPlain, threadDied } from './messages.ts';

interface Job {
  readonly request: CompressRequest;
  readonly resolve: (batch: CompressedBatch) => void;
  readonly reject: (error: AccelError) => void;
}

/** A queue of batches and the threads that take them. */
export class CompressPool implements BlockCompressor {
  readonly #size: number;
  readonly #start: () => Worker;
  readonly #idle: Worker[] = [];
  readonly #running = new Map<Worker, Job>();
  #queue: Job[] = [];
  #started = 0;
  #next = 0;

  constructor(size: number, start: () => Worker) {
    this.#size = size;
    this.#start = start;
  }

  compress(bytes: Uint8Array): Promise<CompressedBatch> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ request: { id: this.#next++, bytes }, resolve, reject });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const worker = this.#idle.pop() ?? this.#grow();
      if (worker === undefined) return;
      const job = this.#queue.shift()!;
      this.#running.set(worker, job);
      worker.ref();
      worker.postMessage(job.request);
    }
  }

  #grow(): Worker | undefined {
    if (this.#started === this.#size) return undefined;
    this.#started++;
    const worker = this.#start();
    worker.on('message', (reply: CompressReply) => {
      const job = this.#running.get(worker);
      this.#running.delete(worker);
      worker.unref();
      this.#idle.push(worker);
      if ('error' in reply) job?.reject(fromPlain(reply.error));
      else job?.resolve(reply);
      this.#dispatch();
    });
    worker.on('error', (error) => this.#lost(worker, error));
    worker.on('exit', (code) => this.#lost(worker, code));
    return worker;
  }

  /** A thread is gone: its batch fails, and with it the layer; the others would wait for a place in vain. */
  #lost(worker: Worker, cause: unknown): void {
    const job = this.#running.get(worker);
    this.#running.delete(worker);
    if (job === undefined) return;
    const error = threadDied(cause);
    for (const { reject } of [job, ...this.#queue]) reject(error);
    this.#queue = [];
  }
}
