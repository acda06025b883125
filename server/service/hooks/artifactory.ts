/**
 * Webhooks of JFrog Artifactory in the domain `docker`. Source: JFrog's documentation, "Event Types": `event_type: pushed` with
 * `data {repo_key, image_name, tag}`. The host is not in it: Artifactory serves a repository as a path of one host
 * (`HOST/KEY/IMAGE`) or under a host of its own, for which the configured registry contains `{repo}`.
 */
import { type Hook, objectOf, optional, Reading, recordAt, registryOf, textAt } from './hook.ts';

const KIND = 'artifactory';
const PLACEHOLDER = '{repo}';

/** Reads a webhook. */
export const readArtifactory: Hook = (request, settings) => {
  const body = objectOf(request, KIND);
  const reading = new Reading();
  textAt(body.domain, KIND, 'domain');
  if (body.domain !== 'docker') return reading.ignore('not-an-image');
  if (body.event_type !== 'pushed') return reading.ignore('other-action');
  const data = recordAt(body.data, KIND, 'data');
  const key = textAt(data.repo_key, KIND, 'data.repo_key');
  const image = textAt(data.image_name, KIND, 'data.image_name');
  const registry = registryOf(settings, undefined, KIND);
  const ownHost = registry.includes(PLACEHOLDER);
  return reading.push({
    kind: KIND,
    registry: registry.replaceAll(PLACEHOLDER, key),
    repository: ownHost ? image : `${key}/${image}`,
    ...optional('tag', data.tag),
  });
};
