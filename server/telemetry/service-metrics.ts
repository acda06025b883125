/** Metrics of the conversion service, `accel_service_*`. */
import type { Counter, Histogram } from 'prom-client';
import type { Metrics } from './metrics.ts';

/** Seconds of a conversion: from an image that is there to the largest. */
const SECONDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 3600, 7200];

/** Figures of the queue, by topic. */
export interface QueueGauges {
  readonly waiting: Readonly<Record<string, number>>;
  readonly running: Readonly<Record<string, number>>;
  readonly failed: Readonly<Record<string, number>>;
  /** Milliseconds. */
  readonly oldest: Readonly<Record<string, number>>;
}

/** All metrics of one process of the service. */
export class ServiceMetrics {
  readonly #metrics: Metrics;
  /** Events, by kind and decision. */
  readonly events: Counter;
  /** Ends of attempts at a conversion, by outcome, reason and mode. */
  readonly conversions: Counter;
  /** Seconds of attempts at a conversion. */
  readonly seconds: Histogram;
  /** Bytes of converted source images. */
  readonly sourceBytes: Counter;
  /** Bytes of the images made of them. */
  readonly resultBytes: Counter;
  /** Tries to send a notification, by form and outcome. */
  readonly notifications: Counter;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    this.events = metrics.counter({
      name: 'service_events_total',
      help: 'Events, by the kind that reported them and by the decision.',
      labels: ['kind', 'decision'],
    });
    this.conversions = metrics.counter({
      name: 'service_conversions_total',
      help: 'Ends of attempts at a conversion; reason is the code of a failure.',
      labels: ['outcome', 'reason', 'mode'],
    });
    this.seconds = metrics.histogram({
      name: 'service_conversion_seconds',
      help: 'Seconds of attempts at a conversion.',
      labels: ['outcome', 'mode'],
      buckets: SECONDS,
    });
    this.sourceBytes = metrics.counter({
      name: 'service_source_bytes_total',
      help: 'Bytes of converted source images.',
    });
    this.resultBytes = metrics.counter({
      name: 'service_result_bytes_total',
      help: 'Bytes of the images made of them.',
    });
    this.notifications = metrics.counter({
      name: 'service_notifications_total',
      help: 'Tries to send a notification, by form and outcome.',
      labels: ['form', 'outcome'],
    });
  }

  /** Registers the figures of the queue, which are asked for with the metrics. */
  observe(figures: () => Promise<QueueGauges>): void {
    const jobs = this.#metrics.gauge({
      name: 'service_queue_jobs',
      help: 'Jobs that wait, run, or have failed for good.',
      labels: ['topic', 'state'],
    });
    const oldest = this.#metrics.gauge({
      name: 'service_queue_oldest_seconds',
      help: 'Seconds for which the oldest waiting job has been due.',
      labels: ['topic'],
    });
    const collect = async (): Promise<void> => {
      // While the store does not answer, the last figures remain, and readiness says why.
      const found = await figures().catch(() => undefined);
      if (found === undefined) return;
      for (const state of ['waiting', 'running', 'failed'] as const)
        for (const [topic, count] of Object.entries(found[state])) jobs.set({ topic, state }, count);
      for (const [topic, age] of Object.entries(found.oldest)) oldest.set({ topic }, age / 1000);
    };
    Object.assign(jobs, { collect });
  }
}
