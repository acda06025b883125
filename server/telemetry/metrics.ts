/** The metrics of a process: one registry, names with one prefix, histograms with buckets that fit what they measure. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { VERSION } from '../../base/version.ts';

/** Seconds: from a hit in memory to a slow pull. */
const SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

const PREFIX = 'accel_';

/** Name, meaning and labels of a metric. */
export interface MetricOptions {
  /** Without the prefix `accel_`; with its unit at the end, in the way of Prometheus. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** Makes the metrics of one process. */
export interface Metrics {
  readonly registry: Registry;
  counter(options: MetricOptions): Counter;
  gauge(options: MetricOptions): Gauge;
  /** Connections that were ended or refused to make room for others, by port. */
  readonly endedConnections: Counter;
  /** A histogram; seconds unless `buckets` says otherwise. */
  histogram(options: MetricOptions & { readonly buckets?: readonly number[] }): Histogram;
  /** Prints text in the format of Prometheus before the metrics of the registry, with each answer. */
  prepend(print: () => string): void;
  /** Answers GET of a path with a document, as JSON. */
  document(path: string, read: () => unknown): void;
  /** All metrics as text. */
  text(): Promise<string>;
  /** The documents by path. */
  readonly documents: ReadonlyMap<string, () => unknown>;
}

/** An empty set of metrics, with the process's own (memory, processor, event loop) and the version. */
export function createMetrics(role: string): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const common = ({ name, help, labels = [] }: MetricOptions) => ({
    name: `${PREFIX}${name}`,
    help,
    labelNames: [...labels],
    registers: [registry],
  });
  const prepended: (() => string)[] = [];
  const documents = new Map<string, () => unknown>();
  const metrics: Metrics = {
    registry,
    endedConnections: new Counter(
      common({
        name: 'ended_connections_total',
        help: 'Connections that were ended or refused to make room for others.',
        labels: ['port'],
      }),
    ),
    documents,
    prepend: (print) => void prepended.push(print),
    document: (path, read) => void documents.set(path, read),
    text: async () => [...prepended.map((print) => print()), await registry.metrics()].join('\n'),
    counter: (options) => new Counter(common(options)),
    gauge: (options) => new Gauge(common(options)),
    histogram: ({ buckets = SECONDS_BUCKETS, ...options }) =>
      new Histogram({ ...common(options), buckets: [...buckets] }),
  };
  metrics
    .gauge({ name: 'build_info', help: 'Version and role, as labels; always 1', labels: ['version', 'role'] })
    .set({ version: VERSION, role }, 1);
  return metrics;
}
