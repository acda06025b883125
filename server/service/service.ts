/**
 * Puts the conversion service together: the queue, the door for events, those who look at them, those who convert. The API, hooks and
 * console get {@link ServiceParts}.
 */
import { type Config, milliseconds } from '../config/schema.ts';
import type { RoleContext } from '../role.ts';
import { ServiceMetrics } from '../telemetry/service-metrics.ts';
import { TaskMetrics } from '../telemetry/task-metrics.ts';
import { checkWorkDirectory } from './check-files.ts';
import type { ConversionOrder, ConversionResult } from './conversion.ts';
import { startConversionWorkers } from './conversion-worker.ts';
import { createEventSink, type EventSink, startIntake } from './intake.ts';
import type { JobPool, Outcome } from './job-pool.ts';
import { startSender } from './notifications/sender.ts';
import { ProgressBus } from './progress-bus.ts';
import type { Job, Queue } from './queue.ts';
import { startSchedule } from './scans/schedule.ts';
import { serviceTasks } from './scans/tasks.ts';
import { type ServiceSettings, serviceSettings } from './service-settings.ts';
import { openSqliteQueue } from './sqlite.ts';
import { isDatabase, needsDatabase } from './store-address.ts';

/** Parts of the service that a process runs: `api` takes events in, `worker` looks at them and converts. */
export type ServiceRole = 'both' | 'api' | 'worker';

/** The parts that the API, hooks, notifications and reconcile build on. */
export interface ServiceParts {
  readonly role: ServiceRole;
  readonly queue: Queue;
  readonly events: EventSink;
  readonly bus: ProgressBus;
  readonly metrics: ServiceMetrics;
  /** The settings in force. */
  readonly settings: () => ServiceSettings;
}

/** Milliseconds before the end of the time for draining at which conversions are ended and put back. */
const RESERVE = 2_000;
/** Milliseconds between two looks at whether the queue accepts. */
const LOOK_EVERY = 1_000;

/** Starts the parts of a role, and registers with the lifecycle what ends them. */
export async function startService(role: ServiceRole, context: RoleContext): Promise<ServiceParts> {
  const { lifecycle, log } = context;
  let settings = await serviceSettings(context.config);
  const { config } = settings;
  if (role !== 'api') await checkWorkDirectory(config.service);
  const queue = await openQueue(role, config, log);
  lifecycle.started('queue', () => queue.close());
  const metrics = new ServiceMetrics(context.metrics);
  metrics.observe(() => queue.figures());
  const bus = new ProgressBus();
  const parts: ServiceParts = {
    role,
    queue,
    bus,
    metrics,
    settings: () => settings,
    events: createEventSink({ queue, context: () => settings, onDecision }),
  };
  lifecycle.onReload(async () => {
    settings = await serviceSettings(await context.readConfig());
  });
  watchReadiness(queue, lifecycle);
  if (role !== 'api') startWorkers(parts, context);
  return parts;

  function onDecision(event: { readonly kind: string }, decision: string): void {
    metrics.events.inc({ kind: event.kind, decision });
  }
}

function startWorkers(parts: ServiceParts, { lifecycle, log, metrics: all }: RoleContext): void {
  const { queue, bus, metrics, settings } = parts;
  const { config } = settings();
  const deadline = Math.max(0, milliseconds(config.drain) - RESERVE);
  const started = (name: string, pool: Pick<JobPool, 'drain'>): void =>
    lifecycle.started(name, (stopped) => pool.drain(AbortSignal.any([stopped, AbortSignal.timeout(deadline)])));
  const workers = startConversionWorkers({
    queue,
    bus,
    concurrency: config.service.concurrency,
    settings,
    log,
    onEnd: (job, outcome, seconds) => count(metrics, job, { outcome, seconds }),
  });
  started('conversions', workers);
  const intake = startIntake({
    queue,
    concurrency: config.service.decisions,
    context: settings,
    log,
    onDecision: ({ kind }, decision) => metrics.events.inc({ kind, decision }),
  });
  started('events', intake);
  const sender = startSender({
    queue,
    sinks: () => settings().sinks,
    log,
    onEnd: (form, outcome) => metrics.notifications.inc({ form, outcome }),
  });
  started('notifications', sender);
  const tasks = serviceTasks({ queue, sink: parts.events, settings, log });
  const figures = new TaskMetrics(all);
  const isShared = isDatabase(config.service.store);
  const schedule = startSchedule({ queue, tasks, log, isShared, onRun: (run) => figures.record(run) });
  lifecycle.onReload(() => schedule.replan());
  started('tasks', schedule);
}

async function openQueue(role: ServiceRole, { service }: Config, log: (line: string) => void): Promise<Queue> {
  const { store, history } = service;
  // Its packages take 25 MB of memory, which the embedded queue need not spend.
  if (isDatabase(store)) {
    const { openPostgresQueue } = await import('./postgres.ts');
    return openPostgresQueue({ url: store, history, log });
  }
  if (role !== 'both') {
    throw needsDatabase(role, store);
  }
  return openSqliteQueue({ path: store, history });
}

function watchReadiness(queue: Queue, lifecycle: RoleContext['lifecycle']): void {
  lifecycle.setReady('queue', queue.unready());
  if (lifecycle.draining.aborted) return;
  setTimeout(() => watchReadiness(queue, lifecycle), LOOK_EVERY).unref();
}

function count(
  metrics: ServiceMetrics,
  job: Job,
  { outcome, seconds }: { readonly outcome: Outcome; readonly seconds: number },
): void {
  const { mode } = (job.data as unknown as ConversionOrder).rule.options;
  const { ending } = outcome;
  const reason = ending.kind === 'retry' || ending.kind === 'failed' ? ending.failure.code : '';
  metrics.conversions.inc({ outcome: ending.kind, reason, mode });
  metrics.seconds.observe({ outcome: ending.kind, mode }, seconds);
  if (ending.kind !== 'done') return;
  const { source, tags } = ending.result as unknown as ConversionResult;
  const made = tags.filter(({ upToDate }) => !upToDate);
  if (made.length > 0) metrics.sourceBytes.inc(source.size);
  metrics.resultBytes.inc(made.reduce((sum, { size }) => sum + size, 0));
}
