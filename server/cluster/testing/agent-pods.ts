/** Pods of agents at a test's API server, with tokens that are bound to them: there is no kubelet, so the test is one. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import type { TestCluster } from './kube-cluster.ts';
import { RELEASE } from './webhook.ts';

/** Service account of the agents. */
export const ACCOUNT = 'accel-agent';

/** Permissions that the chart gives the agents' service account; here for several accounts. */
export function agentRules(accounts: readonly string[]): object[] {
  const rbac = 'rbac.authorization.k8s.io';
  const subjects = accounts.map((name) => ({ kind: 'ServiceAccount', name, namespace: RELEASE }));
  const rules = [
    { apiGroups: ['certificates.k8s.io'], resources: ['certificatesigningrequests'], verbs: ['create', 'get'] },
  ];
  const own = [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] }];
  const bind = (kind: string, namespace?: string) => ({
    apiVersion: `${rbac}/v1`,
    kind: `${kind}Binding`,
    metadata: { name: ACCOUNT, ...(namespace === undefined ? {} : { namespace }) },
    roleRef: { apiGroup: rbac, kind, name: ACCOUNT },
    subjects,
  });
  return [
    { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name: ACCOUNT }, rules },
    { apiVersion: `${rbac}/v1`, kind: 'Role', metadata: { name: ACCOUNT, namespace: RELEASE }, rules: own },
    bind('ClusterRole'),
    bind('Role', RELEASE),
  ];
}

/** Makes a node with addresses, or gives them to one that exists. */
export async function putNode(cluster: TestCluster, name: string, addresses: readonly string[]): Promise<void> {
  const admin = await cluster.client();
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name } };
  if ((await admin.find(RESOURCES.nodes, { name })) === undefined) await admin.create(RESOURCES.nodes, node);
  const status = { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) };
  await patchStatus(cluster, ['node', name], status);
}

/** Makes a pod that runs on a node. */
export async function putPod(
  cluster: TestCluster,
  name: string,
  { node, address, account = ACCOUNT }: { readonly node: string; readonly address: string; readonly account?: string },
): Promise<void> {
  const containers = [{ name: 'agent', image: 'accel' }];
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: RELEASE },
    spec: { nodeName: node, hostNetwork: true, serviceAccountName: account, containers },
  } as KubeObject;
  await (await cluster.client()).create(RESOURCES.pods, pod);
  const status = {
    phase: 'Running',
    hostIP: address,
    hostIPs: [{ ip: address }],
    podIP: address,
    podIPs: [{ ip: address }],
  };
  await patchStatus(cluster, ['pod', name, '-n', RELEASE], status);
}

/** The path of a kubeconfig with a token of an account, bound to a pod unless that is undefined. */
export async function putKubeconfig(cluster: TestCluster, pod: string | undefined, account = ACCOUNT): Promise<string> {
  const bound = pod === undefined ? [] : ['--bound-object-kind', 'Pod', '--bound-object-name', pod];
  const token = (await cluster.kubectl(['create', 'token', account, '-n', RELEASE, ...bound])).trim();
  const path = join(cluster.folder, `${account}-of-${pod ?? 'nobody'}.yaml`);
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster: { server: cluster.url, 'certificate-authority': 'certs/apiserver.crt' } }],
    users: [{ name: account, user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: account, namespace: RELEASE } }],
  };
  await writeFile(path, JSON.stringify(content));
  return path;
}

function patchStatus(cluster: TestCluster, target: readonly string[], status: object): Promise<string> {
  const patch = ['--subresource=status', '--type=merge', '--patch', JSON.stringify({ status })];
  return cluster.kubectl(['patch', ...target, ...patch]);
}
