/** Metrics of the service's recurring tasks, `accel_service_task_*`: the last run of each in this process, and all runs. */
import type { Counter, Gauge } from 'prom-client';
import type { Metrics } from './metrics.ts';

/** A run of a task. */
export interface TaskFigures {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly ended: number;
  readonly seconds: number;
  readonly complete: boolean;
  readonly report: { readonly tags: number; readonly changes: number; readonly problems: readonly string[] };
}

/** The metrics of one process. */
export class TaskMetrics {
  readonly #runs: Counter;
  readonly #changes: Counter;
  readonly #ended: Gauge;
  readonly #seconds: Gauge;
  readonly #tags: Gauge;
  readonly #problems: Gauge;

  constructor(metrics: Metrics) {
    const labels = ['task'];
    this.#runs = metrics.counter({
      name: 'service_task_runs_total',
      help: 'Runs of reconcile, watch and prune, by outcome.',
      labels: ['task', 'outcome'],
    });
    this.#changes = metrics.counter({
      name: 'service_task_changes_total',
      help: 'Events that reconcile and watch added, and manifests that prune removed.',
      labels,
    });
    this.#ended = metrics.gauge({
      name: 'service_task_last_run_timestamp_seconds',
      help: 'End of the last run of a task in this process, Unix time.',
      labels,
    });
    this.#seconds = metrics.gauge({
      name: 'service_task_last_run_seconds',
      help: 'Seconds of the last run of a task in this process.',
      labels,
    });
    this.#tags = metrics.gauge({
      name: 'service_task_last_run_tags',
      help: 'Tags that the last run of a task in this process looked at.',
      labels,
    });
    this.#problems = metrics.gauge({
      name: 'service_task_last_run_problems',
      help: 'Registries and repositories that the last run of a task in this process could not read.',
      labels,
    });
  }

  /** Records a run. */
  record({ name: task, ended, seconds, complete, report }: TaskFigures): void {
    this.#runs.inc({ task, outcome: complete ? 'complete' : 'ended-early' });
    this.#changes.inc({ task }, report.changes);
    this.#ended.set({ task }, ended / 1000);
    this.#seconds.set({ task }, seconds);
    this.#tags.set({ task }, report.tags);
    this.#problems.set({ task }, report.problems.length);
  }
}
