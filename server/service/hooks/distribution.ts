/**
 * Notifications of distribution: docker-registry 2 and 3, and registries built on it (GitLab). Source: distribution's documentation,
 * "Work with notifications": an envelope `{events: […]}` of `application/vnd.docker.distribution.events.v1+json` or `v2+json`.
 */

import { isRecord } from '../../../base/is-record.ts';
import { type Hook, isManifest, malformed, objectOf, optional, Reading, recordAt, registryOf, textAt } from './hook.ts';

const KIND = 'distribution';
/** Most events of one envelope; the sender batches a few. */
const MAX_EVENTS = 1000;

/** Reads an envelope. */
export const readDistribution: Hook = (request, settings) => {
  const { events } = objectOf(request, KIND);
  if (!Array.isArray(events)) throw malformed(KIND, 'events', 'an array', events);
  if (events.length > MAX_EVENTS)
    throw malformed(KIND, 'events', `at most ${MAX_EVENTS} events`, `${events.length} events`);
  const reading = new Reading();
  for (const [index, sent] of events.entries()) {
    const event = recordAt(sent, KIND, `events[${index}]`);
    const target = recordAt(event.target, KIND, `events[${index}].target`);
    if (event.action !== 'push' && event.action !== 'mount') reading.ignore('other-action');
    else if (event.action === 'mount' || !isManifest(target.mediaType)) reading.ignore('not-an-image');
    else {
      reading.push({
        kind: KIND,
        registry: registryOf(settings, isRecord(event.request) ? event.request.host : undefined, KIND),
        repository: textAt(target.repository, KIND, `events[${index}].target.repository`),
        ...optional('tag', target.tag),
        ...optional('digest', target.digest),
        ...optional('mediaType', target.mediaType),
        ...optional('at', event.timestamp),
      });
    }
  }
  return reading;
};
