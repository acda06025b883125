/**
 * Records the operations of an agent, each once: for the metrics of both kinds, the audit log, and the totals by image. Callers
 * say which blob, where in it, how much, and since when.
 */
import type { Counter, Histogram } from 'prom-client';
import type { AuditEntry, AuditLog, AuditOperation } from './audit-log.ts';
import { DADI_TYPES, type DadiFigures, type DadiType } from './dadi-exposition.ts';
import { type BlobName, ImageTotals, type Way } from './image-totals.ts';
import type { Metrics } from './metrics.ts';
import { RateWindow } from './rate-window.ts';

/** Operations that are recorded. */
export type Operation =
  | 'client'
  | 'stat'
  | 'to-peer'
  | 'from-peer'
  | 'from-origin'
  | 'from-engine'
  | 'disk-read'
  | 'disk-write';

/** One operation. */
export interface Occurrence {
  readonly digest: string;
  /** First byte in the blob. */
  readonly offset: number;
  /** Bytes; undefined where the operation failed. */
  readonly bytes: number | undefined;
  /** performance.now() at its start. */
  readonly started: number;
}

/** Where an operation counts; `stat` is not among DADI's types, and pieces from peers are not in its audit log. */
const COUNTED: Readonly<
  Record<Operation, { readonly type?: DadiType; readonly audit?: AuditOperation; readonly way?: Way }>
> = {
  client: { type: 'http', audit: 'http:pread', way: 'toClients' },
  stat: { audit: 'rpc:stat' },
  'to-peer': { type: 'pread', audit: 'rpc:pread', way: 'toPeers' },
  'from-peer': { type: 'peer', way: 'fromPeers' },
  'from-origin': { type: 'download', audit: 'download', way: 'fromOrigin' },
  // DADI's types have no name of its own for it: it comes by HTTP from a program of this node.
  'from-engine': { type: 'http', audit: 'http:pread', way: 'fromEngine' },
  'disk-read': { type: 'disk', audit: 'fileread' },
  'disk-write': { type: 'disk', audit: 'filewrite' },
};

/** The size of an operation that failed, in the audit log. */
const FAILED = -1;

/** See the head of the file. */
export class Activity {
  readonly images = new ImageTotals();
  readonly #seconds: Histogram;
  readonly #dropped: Counter;
  readonly #windows = new Map(DADI_TYPES.map((type) => [type, { window: new RateWindow(), total: 0 }]));
  #audit: AuditLog | undefined;

  constructor(metrics: Metrics) {
    this.#seconds = metrics.histogram({
      name: 'agent_operation_seconds',
      help: 'Seconds of an operation.',
      labels: ['operation'],
    });
    this.#dropped = metrics.counter({
      name: 'agent_audit_dropped_total',
      help: 'Lines of the audit log that were dropped.',
    });
  }

  /** Writes operations to an audit log from now on. */
  audit(log: AuditLog | undefined): void {
    this.#audit = log;
  }

  /** Lines of the audit log were dropped. */
  dropped(lines: number): void {
    this.#dropped.inc(lines);
  }

  /** Learns where a blob is said to be, for the names in the audit log. */
  learn(digest: string, name: BlobName): void {
    this.images.learn(digest, name);
  }

  /** Learns where a blob is by the word of its registry to somebody who may read it. */
  confirm(digest: string, name: BlobName): void {
    this.images.confirm(digest, name);
  }

  /** The registry of a blob, as far as it is known. */
  registryOf(digest: string): string {
    return this.images.nameOf(digest)?.registry ?? 'unknown';
  }

  /** Records an operation that has ended. */
  note(operation: Operation, { digest, offset, bytes, started }: Occurrence): void {
    const { type, audit, way } = COUNTED[operation];
    const milliseconds = performance.now() - started;
    if (bytes !== undefined) {
      this.#seconds.observe({ operation }, milliseconds / 1000);
      if (way !== undefined) this.images.add(digest, way, bytes);
      if (type !== undefined) {
        const counted = this.#windows.get(type)!;
        counted.window.add(bytes, milliseconds * 1000);
        counted.total += bytes;
      }
    }
    if (audit === undefined || this.#audit === undefined) return;
    const pathname = this.images.nameOf(digest)?.path ?? digest;
    const size = bytes ?? FAILED;
    this.#audit.note({ operation: audit, pathname: rooted(pathname), offset, size, latency: milliseconds * 1000 });
  }

  /** Records a request for something else than a piece of a blob, or one that failed: in the audit log alone, by its place. */
  noteRequest(
    operation: 'client' | 'from-origin',
    { pathname, offset, bytes, started }: Omit<Occurrence, 'digest'> & Pick<AuditEntry, 'pathname'>,
  ): void {
    const latency = (performance.now() - started) * 1000;
    const audit = COUNTED[operation].audit!;
    this.#audit?.note({ operation: audit, pathname: rooted(pathname), offset, size: bytes ?? FAILED, latency });
  }

  /** Figures of one of DADI's types. */
  figures(type: DadiType): DadiFigures {
    const { window, total } = this.#windows.get(type)!;
    return { ...window.figures, total };
  }
}

function rooted(pathname: string): string {
  return pathname.startsWith('/') ? pathname : `/${pathname}`;
}
