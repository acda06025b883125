/**
 * Anyone's CloudEvents about a pushed image, in one of three forms of `data`: `{reference: "HOST/REPOSITORY:TAG"}` (or `image`),
 * `{repository: "HOST/REPOSITORY", tag, digest}`, or a CDEvents document of `dev.cdevents.artifact.published`, whose subject is a
 * package URL of the type `oci` (cdevents.dev, "Continuous Integration Events"; package-url's type definition of oci).
 */
import type { PushEvent } from '../push-event.ts';
import { type CloudEvent, cloudEventsOf } from './cloud-event.ts';
import { type Hook, malformed, optional, Reading, recordAt, splitReference, textAt, textOf } from './hook.ts';

const KIND = 'cloudevents';
const CDEVENTS = 'dev.cdevents.';
const PUBLISHED = /^dev\.cdevents\.artifact\.(published|packaged)(\.|$)/;

/** Reads one event or a batch. */
export const readCloudevents: Hook = (request) => {
  const events = cloudEventsOf(request, KIND);
  if (events.length === 0) throw malformed(KIND, 'the body', 'a CloudEvent', undefined);
  const reading = new Reading();
  for (const event of events) {
    if (event.type.startsWith(CDEVENTS) && !PUBLISHED.test(event.type)) reading.ignore('other-action');
    else reading.push({ kind: KIND, ...imageOf(event), ...optional('at', event.time) });
  }
  return reading;
};

function imageOf({ type, data: sent }: CloudEvent): Omit<PushEvent, 'kind' | 'at'> {
  const data = recordAt(sent, KIND, 'data');
  if (PUBLISHED.test(type)) {
    const subject = recordAt(data.subject, KIND, 'data.subject');
    return packageOf(textAt(subject.id, KIND, 'data.subject.id'));
  }
  const whole = textOf(data.reference) ?? textOf(data.image);
  const named = splitReference(whole ?? textAt(data.repository, KIND, 'data.repository'), KIND, 'data');
  return { ...named, ...optional('tag', data.tag), ...optional('digest', data.digest) };
}

/** `pkg:oci/NAME@DIGEST?repository_url=HOST/REPOSITORY&tag=TAG`. */
function packageOf(text: string): Omit<PushEvent, 'kind' | 'at'> {
  const match = /^pkg:oci\/[^@?]+(?:@([^?]+))?\?(.+)$/.exec(text);
  const query = new URLSearchParams(match?.[2] ?? '');
  const url = textOf(query.get('repository_url'));
  if (url === undefined) {
    throw malformed(KIND, 'data.subject.id', 'pkg:oci/NAME@DIGEST?repository_url=HOST/REPOSITORY&tag=TAG', text);
  }
  const { registry, repository } = splitReference(url, KIND, 'data.subject.id');
  return { registry, repository, ...optional('tag', query.get('tag')), ...optional('digest', decoded(match?.[1])) };
}

function decoded(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    throw malformed(KIND, 'data.subject.id', 'a digest', text);
  }
}
