/** The role `uninstall`: removes what the controller has made outside of the release, and ends. The chart runs it last. */
import { AccelError } from '../../base/error.ts';
import type { RoleContext } from '../role.ts';
import { kubeAccess } from './kube/kube-access.ts';
import { KubeClient } from './kube.ts';
import { removeLeftovers } from './uninstall/remove-leftovers.ts';

/** Milliseconds for everything. */
const DEADLINE = 90_000;

/** Does the work of the role, and then ends it. Throws `cluster-error` with everything that stays, and `usage` without a namespace. */
export async function startUninstallRole({ config, lifecycle, log }: RoleContext): Promise<void> {
  const { cluster } = config;
  const access = await kubeAccess(cluster.kubeconfig);
  const namespace = cluster.namespace ?? access.namespace;
  if (namespace === undefined) {
    throw new AccelError('usage', 'the namespace of the release is not known', {
      where: { key: 'cluster.namespace' },
      expected: 'the namespace of the lease of the controller',
    });
  }
  const client = await KubeClient.open(access);
  lifecycle.started('connections to Kubernetes', () => client.close());
  const deadline = AbortSignal.timeout(DEADLINE);
  let problems: readonly string[];
  try {
    problems = await removeLeftovers(client, {
      scope: cluster.secrets,
      nodeLabel: cluster.labels.node,
      lease: { namespace, name: cluster.controller.lease },
      signal: AbortSignal.any([deadline, lifecycle.draining]),
      log,
    });
  } catch (error) {
    if (!deadline.aborted) throw error;
    problems = [`not done after ${DEADLINE / 1000} s`];
  }
  if (problems.length > 0) {
    throw new AccelError('cluster-error', `not everything could be removed: ${problems.join('; ')}`, {
      hint: 'docs/kubernetes.md, "Remove", has the commands for what stays.',
    });
  }
  lifecycle.drain();
}
