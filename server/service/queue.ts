/**
 * The durable queue: its contract, which sqlite.ts and postgres.ts keep and one suite of tests checks (queue.test.ts).
 *
 * A job waits, is taken by one worker under a lease, and ends. Jobs of one topic with the same key are one job
 * ({@link Coalescing}); of the jobs with the same lane at most one runs at a time, across all machines. A lease that is not renewed
 * ends, and its job waits again, so a job may run more than once, one after another.
 */
import { AccelError } from '../../base/error.ts';

/** Kinds of jobs: an event to decide about, an image to convert, a notification to send, a task that comes again and again. */
export type Topic = 'event' | 'convert' | 'notify' | 'task';

/** All topics. */
export const TOPICS: readonly Topic[] = ['event', 'convert', 'notify', 'task'];

/**
 * With which jobs of the same key a new job is one. A waiting event stands for all that come until it is looked at, but not for those
 * that come later; a conversion, a notification or a task also while it runs.
 */
export const COALESCING: Readonly<Record<Topic, 'waiting' | 'waiting-or-running'>> = {
  event: 'waiting',
  convert: 'waiting-or-running',
  notify: 'waiting-or-running',
  task: 'waiting-or-running',
};

/** Plain JSON. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined };

/** A job to add. */
export interface NewJob {
  readonly topic: Topic;
  /** At most 1024 characters. */
  readonly key: string;
  /** At most 1024 characters; the key unless given. */
  readonly lane?: string;
  /** `host/repository`, by which lists are filtered. */
  readonly repository: string;
  /** At most {@link MAX_DATA} bytes as JSON. */
  readonly data: Json;
  /** Milliseconds from now before which it is not taken; 0 unless given. At most {@link MAX_DELAY}. */
  readonly delay?: number;
  /**
   * Treats a job of the same key that has failed for good: `keep` leaves it as it is, `revive` adds the job, and the failed
   * one ends as `superseded`. `revive` unless given.
   */
  readonly failed?: 'keep' | 'revive';
  /** Adds it as failed for good, with this reason: it waits for {@link Queue.retry}. */
  readonly parked?: Failure;
}

/** Result of adding a job. */
export interface Added {
  /** The id of the new job, or of the one that it is one with. */
  readonly id: string;
  readonly outcome: 'added' | 'coalesced' | 'kept-failed';
}

/**
 * States of a job. `waiting` also between two attempts; `failed` for good, until someone retries it; `superseded` by another job
 * or by a later push.
 */
export type JobState = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled' | 'superseded';

/** Why an attempt failed: an AccelError without its stack and cause. Has no secrets. */
export interface Failure {
  /** An AccelErrorCode, or one of the service: `worker-crashed`, `worker-lost`, `out-of-memory`, `timed-out`. */
  readonly code: string;
  readonly message: string;
  readonly where?: Readonly<Record<string, string | number>>;
  readonly expected?: string | number;
  readonly found?: string | number;
  readonly hint?: string;
  /** Whether another attempt may succeed without a change by people. */
  readonly temporary: boolean;
}

/** A job as it is stored. Times are milliseconds since the epoch by the clock of the store; they are for people. */
export interface Job {
  readonly id: string;
  readonly topic: Topic;
  readonly key: string;
  readonly repository: string;
  readonly data: Json;
  readonly state: JobState;
  /** Attempts that have begun. */
  readonly attempts: number;
  readonly created: number;
  /** Begin of the last attempt. */
  readonly started?: number;
  /** End of the last attempt, or of the job. */
  readonly finished?: number;
  /** Earliest time of the next attempt, for a waiting job. */
  readonly due?: number;
  /** Of the last attempt that failed. */
  readonly failure?: Failure;
  /** Of a job that is done. */
  readonly result?: Json;
  /** Last report of a running job. */
  readonly progress?: Json;
}

/** A job that this process runs, until the lease ends. */
export interface Lease {
  readonly job: Job;
  /** Identifies the attempt: a later holder of the same job has another one. */
  readonly token: string;
}

/** Ends of an attempt. */
export type Ending =
  /** Done, for good. */
  | { readonly kind: 'done'; readonly result?: Json }
  /** Again after `delay` milliseconds. */
  | { readonly kind: 'retry'; readonly delay: number; readonly failure: Failure }
  /** Failed for good. */
  | { readonly kind: 'failed'; readonly failure: Failure }
  /** No longer wanted: the image has moved. */
  | { readonly kind: 'superseded'; readonly reason: string }
  /** Put back unfinished, for another worker at once. The attempt does not count, unless it may have left something behind. */
  | { readonly kind: 'released'; readonly counts?: boolean };

/** Selects jobs of a list. */
export interface JobFilter {
  readonly topic: Topic;
  readonly state?: JobState;
  readonly repository?: string;
  /** Id of the last job of the page before. */
  readonly after?: string;
  /** 1 to {@link MAX_PAGE}. */
  readonly limit: number;
}

/** Figures for metrics, by topic. */
export interface QueueFigures {
  readonly waiting: Readonly<Record<Topic, number>>;
  readonly running: Readonly<Record<Topic, number>>;
  readonly failed: Readonly<Record<Topic, number>>;
  /** Milliseconds that the oldest waiting job has waited; 0 where nothing waits. */
  readonly oldest: Readonly<Record<Topic, number>>;
}

/** Most bytes of a job's data. */
export const MAX_DATA = 64 * 1024;
/** Longest delay of a job in milliseconds; a due time further ahead is the work of a clock that was set back, and is due. */
export const MAX_DELAY = 60 * 60 * 1000;
/** Most jobs of a page. */
export const MAX_PAGE = 500;

/** A durable queue. Every method rejects with {@link QueueError}. */
export interface Queue {
  /** Adds jobs, all or none. They are on disk when it resolves. */
  add(jobs: readonly NewJob[]): Promise<Added[]>;
  /** Takes up to `limit` jobs that are due, oldest first. Their leases end after {@link leaseTime} unless renewed. */
  take(topic: Topic, limit: number): Promise<Lease[]>;
  /** Renews a lease, and stores the progress of its job where one is given. False: the lease has ended, stop at once. */
  renew(lease: Lease, progress?: Json): Promise<boolean>;
  /**
   * Ends an attempt and adds jobs that follow from it, all in one transaction. False: the lease had ended, nothing was changed, and the
   * jobs were not added.
   */
  finish(lease: Lease, ending: Ending, followUp?: readonly NewJob[]): Promise<boolean>;
  /** Milliseconds after which a lease ends that is not renewed. */
  readonly leaseTime: number;
  /** One job. */
  get(id: string): Promise<Job | undefined>;
  /** A page of jobs, newest first. */
  list(filter: JobFilter): Promise<Job[]>;
  /** Lets a failed job run again, with its attempts counted from 0. False: there is no such failed job. */
  retry(id: string): Promise<boolean>;
  /** Cancels a job that waits or has failed. A running job is marked, and its {@link renew} says false. False: it has ended. */
  cancel(id: string): Promise<boolean>;
  /** Figures for metrics; old by some seconds at most, or by 20 times what counting took. */
  figures(): Promise<QueueFigures>;
  /** Calls back when jobs of a topic may be due; also without a reason. Returns what ends it. */
  onWork(topic: Topic, callback: () => void): () => void;
  /** Why nothing can be accepted now; undefined when all is well. For readiness. */
  unready(): string | undefined;
  /** Releases the store. Leases that are open end by themselves, or at the next open. */
  close(): Promise<void>;
}

/** Why the queue refuses: `full` no space on disk (HTTP 507), `busy` too many requests, `unavailable` no database (both 503). */
export type QueueRefusal = 'full' | 'busy' | 'unavailable' | 'invalid';

/** A refusal of the queue. Nothing of the request was stored. */
export class QueueError extends AccelError {
  readonly refusal: QueueRefusal;

  constructor(refusal: QueueRefusal, message: string, cause?: unknown) {
    super('io-error', message, cause === undefined ? {} : { cause, found: (cause as Error).message });
    this.refusal = refusal;
  }
}
