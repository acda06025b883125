/**
 * Events of zot, as CloudEvents. Source: zot's documentation, "Event Support for zot": an event whose type ends in `image.updated` has
 * `data {name, reference, digest, mediaType}`. The prefix of the type and the source are settings of zot, so the configuration names
 * the host.
 */
import { cloudEventsOf } from './cloud-event.ts';
import { type Hook, isManifest, malformed, optional, Reading, recordAt, registryOf, textAt } from './hook.ts';

const KIND = 'zot';

/** Reads an event. */
export const readZot: Hook = (request, settings) => {
  const events = cloudEventsOf(request, KIND);
  if (events.length === 0) throw malformed(KIND, 'the body', 'a CloudEvent', undefined);
  const reading = new Reading();
  for (const event of events) {
    if (!event.type.endsWith('.image.updated')) {
      reading.ignore('other-action');
      continue;
    }
    const data = recordAt(event.data, KIND, 'data');
    if (!isManifest(data.mediaType)) {
      reading.ignore('not-an-image');
      continue;
    }
    const reference = textAt(data.reference, KIND, 'data.reference');
    reading.push({
      kind: KIND,
      registry: registryOf(settings, undefined, KIND),
      repository: textAt(data.name, KIND, 'data.name'),
      ...(reference.includes(':') ? {} : { tag: reference }),
      ...optional('digest', data.digest),
      ...optional('mediaType', data.mediaType),
      ...optional('at', event.time),
    });
  }
  return reading;
};
