/**
 * Removes what the controller has made outside of the release: copies of pull secrets, labels of nodes, and its Lease. It runs when the controller
 * has no permissions any more, so nobody makes them again. Of each, only what carries the controller's mark goes.
 */
import { asAccelError } from '../../../base/error.ts';
import { Limiter } from '../../../base/limiter.ts';
import { COPY_LABEL } from '../controller/copy-secrets.ts';
import { labelledNode, nodePatch } from '../controller/node-labels.ts';
import type { SecretScope } from '../controller/secret-watches.ts';
import { isKubeError } from '../kube/kube-error.ts';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import type { KubeClient, ObjectKey } from '../kube.ts';
import { isCopyName } from '../rewrite/pull-secrets.ts';

/** Places to look at. */
export interface LeftoverOptions {
  /** Namespaces of the copies. */
  readonly scope: SecretScope;
  /** Label of nodes. */
  readonly nodeLabel: string;
  readonly lease: ObjectKey;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

/** Objects that are changed at a time. */
const AT_ONCE = 8;
/** Times that a node is read again which somebody else has changed meanwhile. */
const TRIES = 5;

/** Removes everything; the reasons why something stays. Fails only with the signal's reason. */
export async function removeLeftovers(client: KubeClient, options: LeftoverOptions): Promise<readonly string[]> {
  const { scope, signal } = options;
  const problems: string[] = [];
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      problems.push(`${what}: ${asAccelError(error).message}`);
    }
  };
  for (const namespace of scope.clusterWide ? [undefined] : scope.namespaces) {
    const where = namespace === undefined ? 'all namespaces' : `the namespace ${namespace}`;
    await attempt(`copies of pull secrets in ${where}`, () => removeCopies(client, namespace, options));
  }
  await attempt('labels of nodes', () => removeLabels(client, options));
  await attempt(`the lease ${options.lease.name}`, async () => {
    if (await client.remove(RESOURCES.leases, options.lease, { signal })) options.log('the lease is removed');
  });
  return problems;
}

async function removeCopies(
  client: KubeClient,
  namespace: string | undefined,
  options: LeftoverOptions,
): Promise<void> {
  const { signal, log } = options;
  const copies: KubeObject['metadata'][] = [];
  const selection = { namespace, labelSelector: `${COPY_LABEL}=true`, metadataOnly: true };
  await client.list(
    RESOURCES.secrets,
    selection,
    ({ metadata }) => {
      if (isCopyName(metadata.name)) copies.push(metadata);
    },
    { signal },
  );
  let removed = 0;
  await eachOf(copies, async ({ uid, ...key }) => {
    const isGone = await client.remove(RESOURCES.secrets, key, { signal, ...(uid === undefined ? {} : { uid }) });
    if (isGone) removed += 1;
  });
  log(
    `${removed} copies of pull secrets are removed${namespace === undefined ? '' : ` from the namespace ${namespace}`}`,
  );
}

async function removeLabels(client: KubeClient, { nodeLabel, signal, log }: LeftoverOptions): Promise<void> {
  const marked: string[] = [];
  await client.list(
    RESOURCES.nodes,
    { metadataOnly: true },
    (node) => {
      if (labelledNode(node, nodeLabel).isOwn) marked.push(node.metadata.name);
    },
    { signal },
  );
  await eachOf(marked, async (name) => {
    for (let tries = 1; ; tries++) {
      const node = await client.find(RESOURCES.nodes, { name }, { signal });
      const content = node && nodePatch(labelledNode(node, nodeLabel), false, nodeLabel);
      if (content === undefined) return;
      try {
        await client.patch(RESOURCES.nodes, { name }, { kind: 'merge', content }, { signal });
        return;
      } catch (error) {
        if (isKubeError(error, 'NotFound')) return;
        if (!isKubeError(error, 'Conflict') || tries === TRIES) throw error;
      }
    }
  });
  log(`${marked.length} nodes are without the label ${nodeLabel} that they had from the controller`);
}

/** Does something with each item, a few at a time; throws the first failure after all were tried. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const limiter = new Limiter(AT_ONCE);
  const results = await Promise.allSettled(items.map((item) => limiter.run(() => work(item))));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
