/** Takes jobs of one topic and runs them, a bounded number at a time, until it is drained. */
import { setTimeout as delay } from 'node:timers/promises';
import { asAccelError } from '../../base/error.ts';
import { type KeptLease, keepLease } from './lease-keeper.ts';
import type { Ending, Lease, NewJob, Queue, Topic } from './queue.ts';

/** The end of a job, and the jobs that follow from it. */
export interface Outcome {
  readonly ending: Ending;
  readonly followUp?: readonly NewJob[];
}

/** Settings of a pool. */
export interface PoolOptions {
  readonly queue: Queue;
  readonly topic: Topic;
  /** Jobs at a time. */
  readonly concurrency: number;
  /**
   * Runs a job. `stop` fires when its lease is lost, or when there is no more time to drain; what it rejects with then does not count.
   * It does not reject otherwise.
   */
  readonly run: (lease: Lease, kept: KeptLease, stop: AbortSignal) => Promise<Outcome>;
  /** Called when a job has ended and that is on disk. */
  readonly onEnd?: (lease: Lease, outcome: Outcome) => void;
  readonly log: (line: string) => void;
}

/** Milliseconds between two tries to store the end of a job while the store refuses. */
const STORE_EVERY = 1_000;
const STORE_LONGEST = 15_000;

/** A running pool. */
export class JobPool {
  readonly #options: PoolOptions;
  readonly #running = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();
  readonly #stopListening: () => void;
  #isDraining = false;
  #taking: Promise<void> | undefined;
  #isAskedAgain = false;

  /** Starts to take jobs. */
  constructor(options: PoolOptions) {
    this.#options = options;
    this.#stopListening = options.queue.onWork(options.topic, () => this.#look());
    this.#look();
  }

  /** Jobs that run now. */
  get size(): number {
    return this.#running.size;
  }

  /** Takes no more jobs, and waits for those that run; when `deadline` fires they are ended and put back. */
  async drain(deadline: AbortSignal): Promise<void> {
    this.#isDraining = true;
    this.#stopListening();
    await this.#taking;
    const stop = (): void => this.#stop.abort(new Error('the service ends'));
    if (deadline.aborted) stop();
    else deadline.addEventListener('abort', stop, { once: true });
    await Promise.all(this.#running.values());
    deadline.removeEventListener('abort', stop);
  }

  #look(): void {
    if (this.#isDraining || this.#running.size >= this.#options.concurrency) return;
    if (this.#taking !== undefined) {
      this.#isAskedAgain = true;
      return;
    }
    this.#taking = this.#take().finally(() => {
      this.#taking = undefined;
      if (this.#isAskedAgain) {
        this.#isAskedAgain = false;
        this.#look();
      }
    });
  }

  async #take(): Promise<void> {
    const { queue, topic, concurrency } = this.#options;
    try {
      const leases = await queue.take(topic, concurrency - this.#running.size);
      for (const lease of leases) {
        const running = this.#work(lease).finally(() => {
          this.#running.delete(lease.token);
          this.#look();
        });
        this.#running.set(lease.token, running);
      }
    } catch {
      // The store does not answer; readiness says so, and the next signal asks again.
    }
  }

  async #work(lease: Lease): Promise<void> {
    const { queue, run, log } = this.#options;
    const kept = keepLease(queue, lease);
    const stop = AbortSignal.any([kept.lost, this.#stop.signal]);
    try {
      const outcome = await run(lease, kept, stop).catch((error: unknown): Outcome | undefined => {
        if (kept.lost.aborted) return undefined;
        if (this.#stop.signal.aborted) return { ending: { kind: 'released' } };
        log(`job ${lease.job.id} ended in an unexpected way: ${asAccelError(error).message}`);
        return { ending: { kind: 'failed', failure: { code: 'internal', message: String(error), temporary: false } } };
      });
      if (outcome !== undefined) await this.#store(lease, outcome, kept);
    } finally {
      kept.release();
    }
  }

  /** Stores the end of a job, as long as the lease lasts: what is not stored is done again. */
  async #store(lease: Lease, outcome: Outcome, kept: KeptLease): Promise<void> {
    const { queue, onEnd, log } = this.#options;
    for (let wait = STORE_EVERY; !kept.lost.aborted; wait = Math.min(STORE_LONGEST, wait * 2)) {
      try {
        if (await queue.finish(lease, outcome.ending, outcome.followUp)) onEnd?.(lease, outcome);
        return;
      } catch (error) {
        log(`the end of job ${lease.job.id} is not stored yet: ${asAccelError(error).message}`);
        await delay(wait, undefined, { signal: kept.lost }).catch(() => undefined);
      }
    }
  }
}
