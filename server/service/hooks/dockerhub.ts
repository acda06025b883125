/**
 * Webhooks of Docker Hub. Source: Docker's documentation, "Webhooks": `push_data {tag, pushed_at}` and `repository {repo_name}`. They
 * carry no signature, so the secret is in the URL. The `callback_url` is never called: no address from a payload is.
 */
import { type Hook, objectOf, optional, Reading, recordAt, textAt } from './hook.ts';

const KIND = 'dockerhub';

/** Reads a webhook. */
export const readDockerhub: Hook = (request) => {
  const body = objectOf(request, KIND);
  const pushed = recordAt(body.push_data, KIND, 'push_data');
  const repository = recordAt(body.repository, KIND, 'repository');
  const seconds = pushed.pushed_at;
  const at =
    typeof seconds === 'number' && seconds > 0 && seconds < 1e11 ? new Date(seconds * 1000).toISOString() : undefined;
  return new Reading().push({
    kind: KIND,
    registry: 'docker.io',
    repository: textAt(repository.repo_name, KIND, 'repository.repo_name'),
    ...optional('tag', pushed.tag),
    ...optional('at', at),
  });
};
