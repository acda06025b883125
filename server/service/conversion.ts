/** A conversion as the API, the console and notifications show it: the view of a job of the topic `convert`. */
import { isRecord } from '../../base/is-record.ts';
import type { RuleOptions } from '../../triggers/rules/match-rule.ts';
import type { EventKind } from './push-event.ts';
import type { Failure, Job, JobState, Json } from './queue.ts';

/** The data of a job of the topic `convert`: everything that a worker needs, and no secret. */
export interface ConversionOrder {
  /** `host[:port]/repository` of the source. */
  readonly repository: string;
  readonly tag: string;
  /** Digest that the tag had when it was decided; absent for an image that could not be looked at. */
  readonly digest?: string;
  /** The rule's number in the file, identity and options. */
  readonly rule: { readonly number: number; readonly identity: string; readonly options: RuleOptions };
  /** Converts even what is up to date. */
  readonly force?: boolean;
  /** The sender of the event that asked for it. */
  readonly from: EventKind;
}

/** Progress of one layer. */
export interface LayerProgress {
  readonly platform: string;
  /** 0 = lowest. */
  readonly index: number;
  readonly count: number;
  readonly digest: string;
  /** Bytes of the source blob. */
  readonly size: number;
  readonly read: number;
  readonly state: 'waiting' | 'reading' | 'pushing' | 'reused' | 'done';
}

/** Progress of a running conversion. */
export interface ConversionProgress {
  readonly stage: 'starting' | 'converting' | 'tagging' | 'verifying';
  readonly digest?: string;
  /** Bytes of all source layers, and of those how many were read. */
  readonly bytes: number;
  readonly read: number;
  /** At most {@link MAX_LAYERS_SHOWN} layers. */
  readonly layers: readonly LayerProgress[];
}

/** Layers in a report of progress; an image with more platforms and layers shows those that move. */
export const MAX_LAYERS_SHOWN = 256;

/** A tag that a conversion made or found. */
export interface ConvertedTag {
  readonly tag: string;
  readonly kind: 'full' | 'containerd' | 'index-only';
  readonly digest: string;
  readonly mediaType: string;
  /** Bytes over all platforms. */
  readonly size: number;
  readonly ratio: number;
  readonly upToDate: boolean;
}

/** The result of a conversion. */
export interface ConversionResult {
  /** `host[:port]/repository` of the tags. */
  readonly target: string;
  readonly source: { readonly digest: string; readonly mediaType: string; readonly size: number };
  readonly tags: readonly ConvertedTag[];
  readonly platforms: readonly string[];
  /** At most 20. */
  readonly warnings: readonly string[];
  readonly verified: 'off' | 'quick' | 'full';
  readonly seconds: { readonly total: number; readonly convert: number; readonly push: number };
}

/** A conversion. Times are ISO 8601. */
export interface ConversionRecord {
  readonly id: string;
  readonly repository: string;
  readonly tag: string;
  readonly digest?: string;
  /** Number of the rule in the file when it was decided, and its options. */
  readonly rule: number;
  readonly options: RuleOptions;
  readonly from: EventKind;
  readonly state: JobState;
  readonly attempts: number;
  readonly created: string;
  readonly started?: string;
  readonly finished?: string;
  readonly due?: string;
  /** Of the last attempt that failed, or why the conversion was superseded. */
  readonly reason?: Failure;
  readonly progress?: ConversionProgress;
  readonly result?: ConversionResult;
}

/** The conversion that a job of the topic `convert` is. */
export function conversionOf(job: Job): ConversionRecord {
  const { repository, tag, digest, rule, from } = job.data as unknown as ConversionOrder;
  const failure = job.state === 'superseded' ? (supersededBy(job) ?? job.failure) : job.failure;
  return {
    id: job.id,
    repository,
    tag,
    ...(digest === undefined ? {} : { digest }),
    rule: rule.number,
    options: rule.options,
    from,
    state: job.state,
    attempts: job.attempts,
    created: new Date(job.created).toISOString(),
    ...(job.started === undefined ? {} : { started: new Date(job.started).toISOString() }),
    ...(job.finished === undefined ? {} : { finished: new Date(job.finished).toISOString() }),
    ...(job.due === undefined ? {} : { due: new Date(job.due).toISOString() }),
    ...(failure === undefined ? {} : { reason: failure }),
    ...(job.progress === undefined ? {} : { progress: job.progress as unknown as ConversionProgress }),
    ...(job.state !== 'done' || job.result === undefined ? {} : { result: job.result as unknown as ConversionResult }),
  };
}

/** Why a conversion was no longer wanted; the store keeps it where the result of others is. */
function supersededBy({ result }: Job): Failure | undefined {
  const message = isRecord(result) ? result.superseded : undefined;
  return typeof message === 'string' ? { code: 'superseded', message, temporary: false } : undefined;
}

/** The order as data of a job. */
export function orderData(order: ConversionOrder): Json {
  return order as unknown as Json;
}
