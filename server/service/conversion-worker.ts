/** Runs the jobs of the topic `convert`: a process each, and what becomes of its end. */

import type { RegistryAccess } from '../config/registry-access.ts';
import type { ConversionOrder, ConversionResult } from './conversion.ts';
import type { ConversionEnd } from './conversion-messages.ts';
import { type ConversionLimits, runConversion } from './conversion-process.ts';
import { failureText } from './failure-text.ts';
import { JobPool, type Outcome } from './job-pool.ts';
import { notificationsFor, type Sink } from './outbox.ts';
import type { ProgressBus } from './progress-bus.ts';
import { eventJob } from './push-event.ts';
import type { Failure, Job, Json, Lease, Queue } from './queue.ts';
import { MAX_ATTEMPTS, MAX_CRASHES, retryDelay } from './retries.ts';

/** Settings of the workers. */
export interface WorkerOptions {
  readonly queue: Queue;
  readonly bus: ProgressBus;
  /** Conversions at a time. */
  readonly concurrency: number;
  /** Asked at each conversion: SIGHUP may have changed them. */
  readonly settings: () => {
    readonly registries: readonly RegistryAccess[];
    readonly sinks: readonly Sink[];
    readonly limits: ConversionLimits;
    readonly workDirectory?: string | undefined;
  };
  readonly log: (line: string) => void;
  /** Hears of each end that is stored. */
  readonly onEnd?: (job: Job, outcome: Outcome, seconds: number) => void;
}

/** Codes of failures by which the image, or its size, may be what ends the process, or a thread of it (`internal`). */
const CRASHES: ReadonlySet<string> = new Set(['worker-crashed', 'out-of-memory', 'timed-out', 'internal']);

/** Starts the workers; the pool drains them. */
export function startConversionWorkers(options: WorkerOptions): JobPool {
  const { queue, bus, concurrency, settings, log, onEnd } = options;
  const started = new Map<string, number>();
  return new JobPool({
    queue,
    topic: 'convert',
    concurrency,
    log,
    run: async (lease, kept, signal) => {
      const { id, data } = lease.job;
      const order = data as unknown as ConversionOrder;
      const { registries, limits, sinks, workDirectory } = settings();
      started.set(lease.token, performance.now());
      bus.publish({ type: 'state', id, state: 'running' });
      log(
        `converting ${order.repository}:${order.tag} (${order.digest ?? 'not looked at yet'}), attempt ${lease.job.attempts}`,
      );
      let hasTags = false;
      const end = await runConversion(
        { order, registries, workDirectory },
        {
          limits,
          signal,
          onProgress: (progress) => {
            hasTags ||= progress.stage === 'tagging';
            kept.report(progress as unknown as Json);
            bus.publish({ type: 'progress', id, progress });
          },
        },
      ).catch((error: unknown) => {
        // Its tags may be there already: the next attempt finds them, and notifies because it is not the first.
        if (kept.lost.aborted || !hasTags) throw error;
        return undefined;
      });
      if (end === undefined) return { ending: { kind: 'released', counts: true } };
      return outcomeOf(lease, order, end, sinks);
    },
    onEnd: (lease, outcome) => {
      const { job, token } = lease;
      const seconds = (performance.now() - (started.get(token) ?? performance.now())) / 1000;
      started.delete(token);
      log(describe(job, outcome));
      bus.publish({ type: 'state', id: job.id, state: stateOf(outcome) });
      onEnd?.(job, outcome, seconds);
    },
  });
}

/** Works out what becomes of a conversion that ended, and which jobs follow. */
export function outcomeOf(lease: Lease, order: ConversionOrder, end: ConversionEnd, sinks: readonly Sink[]): Outcome {
  const again = eventJob({ kind: 'service', ...splitRepository(order.repository), tag: order.tag });
  switch (end.type) {
    case 'done':
      return {
        ending: { kind: 'done', result: end.result as unknown as Json },
        followUp: [...notificationsFor(lease.job, order, end.result, sinks), ...(end.moved ? [again] : [])],
      };
    case 'superseded':
      return { ending: { kind: 'superseded', reason: end.reason }, followUp: end.gone ? [] : [again] };
    case 'failed':
      return { ending: endingOf(lease.job.attempts, end.failure) };
  }
}

/** Whether another attempt follows a failure, and when. */
function endingOf(attempts: number, failure: Failure): Outcome['ending'] {
  const isCrash = CRASHES.has(failure.code);
  if (!(failure.temporary || isCrash) || attempts >= (isCrash ? MAX_CRASHES : MAX_ATTEMPTS))
    return { kind: 'failed', failure };
  return { kind: 'retry', delay: retryDelay(attempts), failure };
}

function splitRepository(name: string): { readonly registry: string; readonly repository: string } {
  const slash = name.indexOf('/');
  return { registry: name.slice(0, slash), repository: name.slice(slash + 1) };
}

function stateOf({ ending }: Outcome) {
  if (ending.kind === 'retry' || ending.kind === 'released') return 'waiting' as const;
  return ending.kind;
}

function describe({ data }: Job, { ending }: Outcome): string {
  const { repository, tag } = data as unknown as ConversionOrder;
  const image = `${repository}:${tag}`;
  switch (ending.kind) {
    case 'done': {
      const { tags, seconds } = ending.result as unknown as ConversionResult;
      return `converted ${image} to ${tags.map((one) => one.tag).join(', ')} in ${seconds.total.toFixed(1)} s`;
    }
    case 'retry':
      return `converting ${image} failed, again in ${Math.round(ending.delay / 1000)} s: ${failureText(ending.failure)}`;
    case 'failed':
      return `converting ${image} failed for good: ${failureText(ending.failure)}`;
    case 'superseded':
      return `did not convert ${image}: ${ending.reason}`;
    case 'released':
      return `put ${image} back: the service ends`;
  }
}
