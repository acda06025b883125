/** The tasks that the settings ask for: reconcile, a watch for each entry, prune. */
import { createHash } from 'node:crypto';
import type { Pattern } from '../../../triggers/rules/pattern.ts';
import { milliseconds } from '../../config/schema.ts';
import type { EventSink } from '../intake.ts';
import type { Queue } from '../queue.ts';
import type { ServiceSettings } from '../service-settings.ts';
import { describePruning } from './describe-pruning.ts';
import { createPace } from './pace.ts';
import { pendingImages } from './pending-images.ts';
import { pruneTags } from './prune-tags.ts';
import { scanTags } from './scan-tags.ts';
import type { ScheduledTask, TaskReport } from './schedule.ts';
import { SeenDigests } from './seen-digests.ts';

/** Parts of the service that tasks use. */
export interface TaskContext {
  readonly queue: Queue;
  readonly sink: EventSink;
  readonly settings: () => ServiceSettings;
  readonly log: (line: string) => void;
}

/** Returns a function that lists the tasks of the settings in force. The memory of a watch outlives a change of the settings. */
export function serviceTasks(context: TaskContext): () => ScheduledTask[] {
  const seen = new SeenDigests();
  return () => {
    const settings = context.settings();
    const { reconcile, prune } = settings.config.service;
    const tasks: ScheduledTask[] = [];
    const interval = milliseconds(reconcile.interval);
    if (interval > 0) {
      const run = scan('reconcile', settings.rules.repositories, context);
      tasks.push({ key: 'reconcile', name: 'reconcile', interval, run });
    }
    for (const { patterns, interval: every } of settings.watches) {
      const run = scan('watch', patterns, context, seen);
      tasks.push({ key: `watch ${hashOf(patterns)}`, name: 'watch', interval: every, run });
    }
    if (prune.enabled) {
      tasks.push({
        key: 'prune',
        name: 'prune',
        interval: milliseconds(prune.interval),
        run: (signal) => runPrune(context, signal),
      });
    }
    return tasks;
  };
}

function scan(
  kind: 'reconcile' | 'watch',
  patterns: readonly Pattern[],
  { sink, settings }: TaskContext,
  seen?: SeenDigests,
): ScheduledTask['run'] {
  return async (signal): Promise<TaskReport> => {
    const current = settings();
    const pace = createPace(current.config.service.reconcile.rate, signal);
    const { tags, events, problems } = await scanTags({
      kind,
      patterns,
      settings: current,
      pace,
      sink,
      ...(seen === undefined ? {} : { seen }),
      signal,
    });
    return { tags, changes: events, problems };
  };
}

async function runPrune({ queue, settings, log }: TaskContext, signal: AbortSignal): Promise<TaskReport> {
  const current = settings();
  const { dryRun } = current.config.service.prune;
  const { tags, removed, problems } = await pruneTags({
    settings: current,
    dryRun,
    pending: () => pendingImages(queue),
    onReport: (report) => {
      for (const line of describePruning(report, dryRun)) log(`prune: ${line}`);
    },
    signal,
  });
  return { tags, changes: removed, problems };
}

function hashOf(patterns: readonly Pattern[]): string {
  const texts = JSON.stringify(patterns.map(({ text }) => text));
  return createHash('sha256').update(texts).digest('hex').slice(0, 16);
}
