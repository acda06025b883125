/**
 * Webhooks of GitHub for container packages: `registry_package` and its twin `package` (docs.github.com, "Webhook events and payloads").
 * Reads the payload with the Action's reader: both see the same events.
 */
import { readEvent } from '../../../triggers/payload.ts';
import { type Hook, objectOf, optional, Reading, splitReference, textOf } from './hook.ts';

const KIND = 'github';
const PACKAGE_EVENTS: readonly string[] = ['registry_package', 'package'];

/** Reads a webhook. The event `ping`, which GitHub sends when a webhook is made, is acknowledged. */
export const readGithub: Hook = (request) => {
  const payload = objectOf(request, KIND);
  const name = textOf(request.headers['x-github-event']) ?? '';
  const reading = new Reading();
  if (!PACKAGE_EVENTS.includes(name)) return reading.ignore('other-action');
  const event = readEvent(name, payload);
  if (event.kind === 'skip') {
    return reading.ignore(event.code === 'untagged' || event.code === 'other-action' ? event.code : 'not-an-image');
  }
  const { repository = '', tag, digest } = event.image;
  const { registry, repository: path } = splitReference(repository, KIND, `${name}.package_version.package_url`);
  return reading.push({
    kind: KIND,
    registry,
    repository: path,
    ...optional('tag', tag),
    ...optional('digest', digest),
  });
};
