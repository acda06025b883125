/**
 * The outbox of notifications: a finished conversion adds one job of the topic `notify` for each sink whose expression one of its tags
 * matches, in the transaction that ends it. Nothing is sent for a conversion that found everything up to date at its first attempt.
 */
import type { ConversionOrder, ConversionResult } from './conversion.ts';
import type { Job, Json, NewJob } from './queue.ts';

/** Who hears of finished conversions; from `service.notifications` of the configuration. */
export interface Sink {
  /** Identifies the sink across restarts: a digest of its URL and form. */
  readonly name: string;
  /** Reports whether a tag is one that the sink wants to hear of; takes linear time. */
  readonly matches: (tag: string) => boolean;
}

/** The data of a job of the topic `notify`. The URL and the secret are not in it: they are looked up by the sink's name. */
export interface NotificationOrder {
  readonly sink: string;
  /** Id of the conversion: the delivery is the same however often it is sent. */
  readonly conversion: string;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
  readonly rule: number;
  readonly result: ConversionResult;
}

/** The notifications that a finished conversion calls for, at most one a sink. `job` is its job, with the attempt that has ended. */
export function notificationsFor(
  { id, attempts }: Pick<Job, 'id' | 'attempts'>,
  order: ConversionOrder,
  result: ConversionResult,
  sinks: readonly Sink[],
): NewJob[] {
  // An earlier attempt may have made the tags, and been killed before its end was stored.
  const made = result.tags.filter(({ upToDate }) => !upToDate || attempts > 1);
  return sinks
    .filter(({ matches }) => made.some(({ tag }) => matches(tag)))
    .map((sink) => {
      const data: NotificationOrder = {
        sink: sink.name,
        conversion: id,
        repository: order.repository,
        tag: order.tag,
        digest: result.source.digest,
        rule: order.rule.number,
        result,
      };
      return {
        topic: 'notify',
        key: `${sink.name} ${id}`,
        repository: order.repository,
        data: data as unknown as Json,
      };
    });
}
