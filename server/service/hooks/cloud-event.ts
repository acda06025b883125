/**
 * CloudEvents 1.0 over HTTP, in the three forms of its HTTP protocol binding: structured (`application/cloudevents+json`), batched
 * (`application/cloudevents-batch+json`) and binary (`ce-*` header fields, the data as the body).
 */
import { isRecord } from '../../../base/is-record.ts';
import { documentOf, type HookKind, type HookRequest, malformed, recordAt, textAt, textOf } from './hook.ts';

/** The attributes of an event that hooks read. */
export interface CloudEvent {
  readonly type: string;
  readonly source: string | undefined;
  readonly time: string | undefined;
  /** Parsed JSON. */
  readonly data: unknown;
}

/** Most events of a batch. */
const MAX_BATCH = 1000;

/** The events of a request; empty for one that is no CloudEvent. Throws `usage` for a malformed one. */
export function cloudEventsOf(request: HookRequest, kind: HookKind): CloudEvent[] {
  const { headers, body } = request;
  const binary = textOf(headers['ce-type']);
  if (binary !== undefined) {
    const [source, time] = [textOf(headers['ce-source']), textOf(headers['ce-time'])];
    return [{ type: binary, source, time, data: documentOf(body, kind) }];
  }
  const contentType = (textOf(headers['content-type']) ?? '').toLowerCase();
  const document = documentOf(body, kind);
  if (contentType.startsWith('application/cloudevents-batch')) {
    if (!Array.isArray(document)) throw malformed(kind, 'the body', 'an array of events', document);
    if (document.length > MAX_BATCH)
      throw malformed(kind, 'the body', `at most ${MAX_BATCH} events`, `${document.length} events`);
    return document.map((event, index) => structured(recordAt(event, kind, `[${index}]`), kind));
  }
  // Senders forget the content type more often than the version of the specification.
  return isRecord(document) && typeof document.specversion === 'string' ? [structured(document, kind)] : [];
}

function structured(event: Record<string, unknown>, kind: HookKind): CloudEvent {
  return {
    type: textAt(event.type, kind, 'type'),
    source: textOf(event.source),
    time: textOf(event.time),
    data: dataOf(event, kind),
  };
}

function dataOf(event: Record<string, unknown>, kind: HookKind): unknown {
  const encoded = textOf(event.data_base64);
  if (encoded !== undefined) return documentOf(Buffer.from(encoded, 'base64'), kind);
  return typeof event.data === 'string' ? documentOf(Buffer.from(event.data), kind) : event.data;
}
