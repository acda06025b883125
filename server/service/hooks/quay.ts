/**
 * Notifications of Quay for "Push to Repository". Source: Red Hat Quay's documentation, "Repository notifications": `docker_url` is
 * `HOST/NAMESPACE/NAME`, and `updated_tags` a list of tags (an object with the tags as its keys in old versions).
 */
import { isRecord } from '../../../base/is-record.ts';
import { type Hook, malformed, objectOf, Reading, registryOf, textAt } from './hook.ts';

const KIND = 'quay';
const MAX_TAGS = 1000;

/** Reads a notification. Other events (builds, scans) have no `updated_tags`. */
export const readQuay: Hook = (request, settings) => {
  const body = objectOf(request, KIND);
  const url = textAt(body.docker_url, KIND, 'docker_url');
  const updated = body.updated_tags;
  const reading = new Reading();
  if (updated === undefined || updated === null) return reading.ignore('other-action');
  const tags: unknown[] = Array.isArray(updated) ? updated : isRecord(updated) ? Object.keys(updated) : [updated];
  if (tags.length > MAX_TAGS) throw malformed(KIND, 'updated_tags', `at most ${MAX_TAGS} tags`, `${tags.length} tags`);
  const slash = url.indexOf('/');
  if (slash <= 0) throw malformed(KIND, 'docker_url', 'HOST/NAMESPACE/NAME', url);
  for (const tag of tags) {
    reading.push({
      kind: KIND,
      registry: registryOf(settings, url.slice(0, slash), KIND),
      repository: url.slice(slash + 1),
      tag: textAt(tag, KIND, 'updated_tags[]'),
    });
  }
  return reading;
};
