/**
 * The way of an event: accepted when its job is on disk; looked at by a worker, which asks the registry and adds what is to be
 * converted in the transaction that ends the event.
 */

import { type DecisionContext, decidePush, isKnownHost } from './decide-push.ts';
import type { Decision, DecisionCode } from './decision.ts';
import { failureText } from './failure-text.ts';
import { JobPool, type Outcome } from './job-pool.ts';
import { checkEvent, eventJob, type PushEvent, repositoryOf } from './push-event.ts';
import type { Queue } from './queue.ts';
import { failureOf, MAX_ATTEMPTS, retryDelay } from './retries.ts';

/** Settings of the intake. */
export interface IntakeOptions {
  readonly queue: Queue;
  /** Events that are looked at at a time. */
  readonly concurrency: number;
  /** Asked at each event: SIGHUP may have changed them. */
  readonly context: () => DecisionContext;
  readonly log: (line: string) => void;
  /** Hears of each decision that is stored, and of the events that are refused without one. */
  readonly onDecision?: (event: PushEvent, code: DecisionCode | 'failed') => void;
}

/** Takes events in. */
export interface EventSink {
  /**
   * Accepts events: they are on disk when it resolves. Those that call for nothing whatever the registry says (no tag, a registry or
   * repository that no rule covers) are dropped. Returns how many were kept. Throws `usage` or `reference-invalid` for an event that
   * cannot be, QueueError where the store refuses: then none of them was accepted.
   */
  accept(events: readonly PushEvent[]): Promise<{ readonly accepted: number; readonly dropped: number }>;
}

/** The door: what the API and the hooks call. Runs in the role `api`. */
export function createEventSink({ queue, context, onDecision }: Omit<IntakeOptions, 'concurrency' | 'log'>): EventSink {
  return {
    async accept(events) {
      const checked = events.map(checkEvent);
      const kept = checked.filter((event) => {
        const code = dropped(event, context());
        if (code !== undefined) onDecision?.(event, code);
        return code === undefined;
      });
      if (kept.length > 0) await queue.add(kept.map(eventJob));
      return { accepted: kept.length, dropped: checked.length - kept.length };
    },
  };
}

function dropped(event: PushEvent, context: DecisionContext): DecisionCode | undefined {
  if (!isKnownHost(event.registry, context)) return 'foreign-registry';
  if (event.tag === undefined) return 'untagged';
  const { rule } = context.rules.match({ repository: repositoryOf(event), tag: event.tag });
  return rule === undefined ? 'not-covered' : undefined;
}

/** Starts the workers that look at events; the pool drains them. Runs in the role `worker`. */
export function startIntake({ queue, concurrency, context, log, onDecision }: IntakeOptions): JobPool {
  const decisions = new WeakMap<Outcome, Decision>();
  return new JobPool({
    queue,
    topic: 'event',
    concurrency,
    log,
    run: async ({ job }, _, signal) => {
      const event = job.data as unknown as PushEvent;
      try {
        const decision = await decidePush(event, { ...context(), signal });
        const outcome: Outcome = { ending: { kind: 'done' }, followUp: decision.jobs };
        decisions.set(outcome, decision);
        return outcome;
      } catch (error) {
        signal.throwIfAborted();
        const failure = failureOf(error);
        if (job.attempts >= MAX_ATTEMPTS) return { ending: { kind: 'failed', failure } };
        return { ending: { kind: 'retry', delay: retryDelay(job.attempts), failure } };
      }
    },
    onEnd: ({ job }, outcome) => {
      const event = job.data as unknown as PushEvent;
      const image = `${repositoryOf(event)}:${event.tag ?? event.digest}`;
      const decision = decisions.get(outcome);
      if (decision !== undefined) {
        log(`${image}: ${decision.code}, ${decision.reason}`);
        onDecision?.(event, decision.code);
      } else if (outcome.ending.kind === 'failed') {
        log(`${image}: given up: ${failureText(outcome.ending.failure)}`);
        onDecision?.(event, 'failed');
      } else if (outcome.ending.kind === 'retry') {
        log(`${image}: ${failureText(outcome.ending.failure)}; again in ${Math.round(outcome.ending.delay / 1000)} s`);
      }
    },
  });
}
