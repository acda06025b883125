/**
 * A finished conversion in the forms of notifications: `webhook` (the document that the Action sends), `cloudevents` (the same document
 * as a CloudEvent), `github-dispatch` (GitHub's "Create a repository dispatch event", which the Action understands), `slack` (one line
 * of text, as incoming webhooks of Slack and of what is compatible with it take it).
 */
import { VERSION } from '../../../base/version.ts';
import type { Notice, Receiver } from '../../../notify/notify.ts';
import type { ConvertedTag } from '../conversion.ts';
import type { NotificationOrder } from '../outbox.ts';
import type { ConfiguredSink } from './sinks.ts';

const FORMAT_VERSION = 1;
const EVENT = 'accelerated';
/** Type of the CloudEvent. */
const EVENT_TYPE = 'dev.accel.image.accelerated';

/** The message, and the receiver with what it needs of the secret. */
export interface Message {
  readonly receiver: Receiver;
  readonly notice: Notice;
}

/** Writes the message of an order for a sink. */
export function messageFor(order: NotificationOrder, { form, receiver, matches }: ConfiguredSink): Message {
  const delivery = order.conversion;
  const document = documentOf(order);
  switch (form) {
    case 'webhook':
      return { receiver, notice: { delivery, document } };
    case 'cloudevents': {
      const event = {
        specversion: '1.0',
        id: delivery,
        source: `accel/${VERSION}`,
        type: EVENT_TYPE,
        subject: `${order.result.target}:${order.tag}`,
        datacontenttype: 'application/json',
        data: document,
      };
      return {
        receiver,
        notice: { delivery, document: event, headers: { 'content-type': 'application/cloudevents+json' } },
      };
    }
    case 'github-dispatch': {
      // The secret is the token: it signs nothing.
      const headers = { authorization: `Bearer ${receiver.secret}`, accept: 'application/vnd.github+json' };
      const tag = order.result.tags.find((one) => matches(one.tag)) ?? order.result.tags[0];
      const payload = { repository: order.result.target, tag: tag?.tag, digest: tag?.digest };
      return {
        receiver: { url: receiver.url, secret: undefined },
        notice: { delivery, document: { event_type: EVENT, client_payload: payload }, headers },
      };
    }
    case 'slack':
      return {
        receiver: { url: receiver.url, secret: undefined },
        notice: { delivery, document: { text: lineOf(order) } },
      };
  }
}

function documentOf({ result: { target, tags, verified } }: NotificationOrder): Record<string, unknown> {
  return {
    formatVersion: FORMAT_VERSION,
    event: EVENT,
    repository: target,
    tags: tags.map(({ tag, digest, kind, size, ratio }) => ({
      reference: `${target}:${tag}@${digest}`,
      tag,
      digest,
      kind,
      size,
      ratio,
      verified: verified === 'off' ? null : true,
    })),
  };
}

function lineOf({ repository, tag, result }: NotificationOrder): string {
  const made = result.tags.map((one) => `${result.target}:${one.tag} (${percentOf(one)} of the size)`).join(', ');
  return `${repository}:${tag} is accelerated: ${made}`;
}

function percentOf({ ratio }: ConvertedTag): string {
  return `${Math.round(ratio * 100)} %`;
}
