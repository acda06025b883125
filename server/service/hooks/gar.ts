/**
 * Messages of Google Artifact Registry from the Pub/Sub topic `gcr`, by a push subscription. Source: Google's documentation,
 * "Configuring Pub/Sub notifications" and "Push subscriptions": `message.data` is base64 of `{action, digest, tag}`, where digest
 * and tag are whole references.
 */
import { isRecord } from '../../../base/is-record.ts';
import {
  documentOf,
  type Hook,
  malformed,
  objectOf,
  optional,
  Reading,
  recordAt,
  splitReference,
  textAt,
  textOf,
} from './hook.ts';

const KIND = 'gar';

/** Reads a message. */
export const readGar: Hook = (request) => {
  const message = recordAt(objectOf(request, KIND).message, KIND, 'message');
  const data = documentOf(Buffer.from(textAt(message.data, KIND, 'message.data'), 'base64'), KIND);
  if (!isRecord(data)) throw malformed(KIND, 'message.data', 'base64 of a JSON object', data);
  const reading = new Reading();
  if (textAt(data.action, KIND, 'message.data.action') !== 'INSERT') return reading.ignore('other-action');
  const tag = textOf(data.tag);
  if (tag === undefined) return reading.ignore('untagged');
  const { registry, repository, tag: name } = splitReference(tag, KIND, 'message.data.tag');
  const digest = textOf(data.digest)?.split('@')[1];
  return reading.push({
    kind: KIND,
    registry,
    repository,
    ...optional('tag', name),
    ...optional('digest', digest),
    ...optional('at', message.publishTime),
  });
};
