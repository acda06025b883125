/**
 * Triggers of Alibaba Cloud Container Registry. Source: its documentation, "Manage triggers": `push_data {tag, digest, pushed_at}` and
 * `repository {repo_full_name, region, …}`. The payload names a region and no host: the host is that of a Personal Edition instance
 * unless the configuration names one, as it must for an Enterprise Edition instance.
 */
import { type Hook, objectOf, optional, Reading, recordAt, registryOf, textAt, textOf } from './hook.ts';

const KIND = 'acr';

/** Reads the call of a trigger. */
export const readAcr: Hook = (request, settings) => {
  const body = objectOf(request, KIND);
  const pushed = recordAt(body.push_data, KIND, 'push_data');
  const repository = recordAt(body.repository, KIND, 'repository');
  const region = textOf(repository.region);
  return new Reading().push({
    kind: KIND,
    registry: registryOf(settings, region === undefined ? undefined : `registry.${region}.aliyuncs.com`, KIND),
    repository: textAt(repository.repo_full_name, KIND, 'repository.repo_full_name'),
    ...optional('tag', pushed.tag),
    ...optional('digest', pushed.digest),
    ...optional('at', pushed.pushed_at),
  });
};
