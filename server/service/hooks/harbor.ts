/**
 * Webhooks of Harbor, in both of its payload formats. Source: Harbor's documentation, "Configure Webhook Notifications": `Default` has
 * `type: PUSH_ARTIFACT` and `event_data`; `CloudEvents` has `type: harbor.artifact.pushed` and the same under `data`.
 */

import { isRecord } from '../../../base/is-record.ts';
import { cloudEventsOf } from './cloud-event.ts';
import {
  type Hook,
  type HookSettings,
  malformed,
  objectOf,
  optional,
  Reading,
  recordAt,
  registryOf,
  splitReference,
  textAt,
  textOf,
} from './hook.ts';

const KIND = 'harbor';
const PUSHED: readonly unknown[] = ['PUSH_ARTIFACT', 'harbor.artifact.pushed'];

/** Reads a webhook. */
export const readHarbor: Hook = (request, settings) => {
  const reading = new Reading();
  const [event] = cloudEventsOf(request, KIND);
  if (event !== undefined) {
    return PUSHED.includes(event.type)
      ? readData(event.data, event.time, settings, reading)
      : reading.ignore('other-action');
  }
  const body = objectOf(request, KIND);
  textAt(body.type, KIND, 'type');
  if (!PUSHED.includes(body.type)) return reading.ignore('other-action');
  const seconds = body.occur_at;
  const at =
    typeof seconds === 'number' && seconds > 0 && seconds < 1e11 ? new Date(seconds * 1000).toISOString() : undefined;
  return readData(body.event_data, at, settings, reading);
};

function readData(sent: unknown, at: string | undefined, settings: HookSettings, reading: Reading): Reading {
  const data = recordAt(sent, KIND, 'event_data');
  const { resources } = data;
  if (!Array.isArray(resources)) throw malformed(KIND, 'event_data.resources', 'an array', resources);
  // accelctl of acceleration-service sends resource_url and nothing else.
  const isFull = data.repository !== undefined && data.repository !== null;
  const name = isFull ? nameOf(data.repository) : undefined;
  for (const resource of resources) {
    if (!isRecord(resource)) throw malformed(KIND, 'event_data.resources[]', 'an object', resource);
    if (name === undefined) {
      const url = textAt(resource.resource_url, KIND, 'event_data.resources[].resource_url');
      const { registry, ...rest } = splitReference(url, KIND, 'event_data.resources[].resource_url');
      reading.push({ kind: KIND, registry: settings.registry ?? registry, ...rest, ...optional('at', at) });
      continue;
    }
    // HOST/PROJECT/REPOSITORY:TAG; the host is the external address of Harbor.
    const [host] = textOf(resource.resource_url)?.split('/') ?? [];
    const tag = textOf(resource.tag);
    reading.push({
      kind: KIND,
      registry: registryOf(settings, host, KIND),
      repository: name,
      // An artifact that was pushed by digest has its digest as the tag.
      ...(tag?.includes(':') === true ? {} : optional('tag', tag)),
      ...optional('digest', resource.digest),
      ...optional('at', at),
    });
  }
  return reading;
}

function nameOf(sent: unknown): string {
  const repository = recordAt(sent, KIND, 'event_data.repository');
  return textAt(repository.repo_full_name, KIND, 'event_data.repository.repo_full_name');
}
