/** Sends the notifications of the queue: durable, with growing waits between tries, and parked with the reason when the receiver refuses. */
import { notifyOnce } from '../../../notify/notify.ts';
import { JobPool, type Outcome } from '../job-pool.ts';
import type { NotificationOrder } from '../outbox.ts';
import type { Failure, Queue } from '../queue.ts';
import { MAX_ATTEMPTS, retryDelay } from '../retries.ts';
import { messageFor } from './message.ts';
import type { ConfiguredSink } from './sinks.ts';

/** Notifications that are sent at a time. */
const CONCURRENCY = 4;

/** Settings of the sender. */
export interface SenderOptions {
  readonly queue: Queue;
  /** Asked at each notification: SIGHUP may have changed them. */
  readonly sinks: () => readonly ConfiguredSink[];
  readonly log: (line: string) => void;
  /** Hears how each try ended; for metrics. */
  readonly onEnd?: (form: string, outcome: 'sent' | 'again' | 'failed' | 'superseded') => void;
}

/** Starts to send; the pool drains. */
export function startSender({ queue, sinks, log, onEnd }: SenderOptions): JobPool {
  const sinkOf = ({ sink }: NotificationOrder): ConfiguredSink | undefined => sinks().find(({ name }) => name === sink);
  return new JobPool({
    queue,
    topic: 'notify',
    concurrency: CONCURRENCY,
    log,
    run: async ({ job }, _, signal): Promise<Outcome> => {
      const order = job.data as unknown as NotificationOrder;
      const sink = sinkOf(order);
      if (sink === undefined)
        return { ending: { kind: 'superseded', reason: 'the receiver is not configured any more' } };
      const { receiver, notice } = messageFor(order, sink);
      const attempt = await notifyOnce(receiver, notice, signal);
      if (attempt.done) return { ending: { kind: 'done' } };
      const failure = failureOf(receiver.url, attempt.found, !attempt.final);
      if (attempt.final || job.attempts >= MAX_ATTEMPTS) return { ending: { kind: 'failed', failure } };
      return { ending: { kind: 'retry', delay: retryDelay(job.attempts), failure } };
    },
    onEnd: ({ job }, { ending }) => {
      const order = job.data as unknown as NotificationOrder;
      const image = `${order.repository}:${order.tag}`;
      const form = sinkOf(order)?.form ?? 'unknown';
      if (ending.kind === 'done') log(`${image}: notified ${form}`);
      else if (ending.kind === 'failed') log(`${image}: notification given up: ${ending.failure.found}`);
      if (ending.kind !== 'released') onEnd?.(form, OUTCOMES[ending.kind]);
    },
  });
}

const OUTCOMES = { done: 'sent', retry: 'again', failed: 'failed', superseded: 'superseded' } as const;

/** Of the URL only the host is shown: its path may contain a token. */
function failureOf(url: URL, found: string, temporary: boolean): Failure {
  return {
    code: 'notify-failed',
    message: 'the receiver of a notification did not take it',
    where: { host: url.host },
    expected: 'HTTP 2xx',
    found,
    temporary,
  };
}
