/** Metrics of the webhook, `accel_admission_*`, and of what follows the API of Kubernetes, `accel_kube_*`. */
import type { Counter, Gauge, Histogram } from 'prom-client';
import type { Metrics } from './metrics.ts';

/** Seconds: from an answer out of memory to the most that a decision may take. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2];

/** Figures that are asked for with the metrics. */
export interface AdmissionGauges {
  readonly known: number;
  readonly lookups: number;
  readonly inFlight: number;
  /** 0 closed, 1 on trial, 2 open; by mode. */
  readonly breakers: Readonly<Record<string, number>>;
  /** Nodes that should have an agent, and those with a ready one; undefined where the share is not looked at. */
  readonly agents: { readonly nodes: number; readonly ready: number } | undefined;
  /** Nodes with the label of those that run accelerated images. */
  readonly labelledNodes: number;
}

/** All metrics of one process that answers the webhook. */
export class AdmissionMetrics {
  readonly #metrics: Metrics;
  /** Pods that were asked about, by outcome. */
  readonly reviews: Counter;
  /** Images that changed, by mode. */
  readonly rewritten: Counter;
  /** Images that stayed, by reason. */
  readonly kept: Counter;
  /** Seconds of a decision. */
  readonly seconds: Histogram;
  /** Lookups in registries, by outcome. */
  readonly lookups: Counter;
  /** Seconds of a lookup. */
  readonly lookupSeconds: Histogram;
  /** Events about labels that ask for what cannot be, by outcome. */
  readonly events: Counter;
  /** Pods whose rewritten images could not be pulled, by mode. */
  readonly pullFailures: Counter;
  /** Watches that began again, by resource and reason. */
  readonly watchRestarts: Counter;
  /** When the certificate that is served ends, in seconds since 1970. */
  readonly certificateEnd: Gauge;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    this.reviews = metrics.counter({
      name: 'admission_reviews_total',
      help: 'Pods that the webhook was asked about, by outcome.',
      labels: ['outcome'],
    });
    this.rewritten = metrics.counter({
      name: 'admission_images_rewritten_total',
      help: 'Images that were rewritten, by mode.',
      labels: ['mode'],
    });
    this.kept = metrics.counter({
      name: 'admission_images_kept_total',
      help: 'Images that stayed as they are although a label asked for acceleration, by reason.',
      labels: ['reason'],
    });
    this.seconds = metrics.histogram({
      name: 'admission_seconds',
      help: 'Seconds of a decision.',
      buckets: SECONDS,
    });
    this.lookups = metrics.counter({
      name: 'admission_lookups_total',
      help: 'Lookups of accelerated images in registries, by outcome.',
      labels: ['outcome'],
    });
    this.lookupSeconds = metrics.histogram({
      name: 'admission_lookup_seconds',
      help: 'Seconds of a lookup in a registry.',
    });
    this.events = metrics.counter({
      name: 'admission_events_total',
      help: 'Events about labels that ask for what cannot be, by outcome.',
      labels: ['outcome'],
    });
    this.pullFailures = metrics.counter({
      name: 'admission_pull_failures_total',
      help: 'Pods whose rewritten images could not be pulled, as kubelets reported it, by mode.',
      labels: ['mode'],
    });
    this.watchRestarts = metrics.counter({
      name: 'kube_watch_restarts_total',
      help: 'Watches of the API of Kubernetes that began again, by resource and reason.',
      labels: ['resource', 'reason'],
    });
    this.certificateEnd = metrics.gauge({
      name: 'admission_certificate_end_seconds',
      help: 'When the certificate of the webhook ends, in seconds since 1970.',
    });
  }

  /** Registers the figures that are asked for with the metrics. */
  observe(figures: () => AdmissionGauges): void {
    const gauge = (name: string, help: string, labels: readonly string[] = []) =>
      this.#metrics.gauge({ name: `admission_${name}`, help, labels });
    const known = gauge('answers', 'Answers about accelerated images that are remembered.');
    const lookups = gauge('lookups_running', 'Lookups in registries that go on.');
    const inFlight = gauge('reviews_running', 'Decisions that go on.');
    const breakers = gauge(
      'breaker',
      'Whether rewriting is stopped: 0 it goes on, 1 it is tried again, 2 it is stopped, in a namespace or everywhere.',
      ['mode'],
    );
    const agents = gauge('agent_nodes', 'Nodes that should have an agent, and those with a ready one.', ['state']);
    const labelled = gauge('labelled_nodes', 'Nodes with the label of those that run accelerated images.');
    Object.assign(known, {
      collect: () => {
        const found = figures();
        known.set(found.known);
        lookups.set(found.lookups);
        inFlight.set(found.inFlight);
        for (const [mode, value] of Object.entries(found.breakers)) breakers.set({ mode }, value);
        labelled.set(found.labelledNodes);
        if (found.agents === undefined) return;
        agents.set({ state: 'all' }, found.agents.nodes);
        agents.set({ state: 'ready' }, found.agents.ready);
      },
    });
  }
}
