/** The webhook for tests: started in this process, registered at a cluster by its URL, with no more permissions than it needs. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificates } from '../../../tests/support/registry.ts';
import { CONFIG_SCHEMA } from '../../config/schema.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { startAdmission } from '../admission/start-admission.ts';
import { eventually, type TestCluster } from './kube-cluster.ts';
import { roleSurroundings } from './role-surroundings.ts';

/** A running webhook. */
export interface TestWebhook {
  readonly port: number;
  readonly url: string;
  readonly metrics: Metrics;
  readonly log: readonly string[];
  /** Sends a signal, as to a process of its own. */
  signal(name: NodeJS.Signals): void;
  /** Waits until the Events so far are written. */
  flushed(): Promise<void>;
  /** A figure of the metrics, such as `accel_admission_reviews_total{outcome="patched"}`; 0 where it does not exist. */
  figure(name: string): Promise<number>;
  stop(): Promise<void>;
}

/** Name of the user that the webhook is at the API. */
export const WEBHOOK_USER = 'admission';
/** Namespace of the release. */
export const RELEASE = 'accel';

const MODE = 'k8s.aliyun.com/image-accelerate-mode';

/** Permissions of the webhook, as the chart grants them; those on secrets only in enabled namespaces. */
export function webhookRules(namespaces: readonly string[]): object[] {
  const subjects = [{ kind: 'User', name: WEBHOOK_USER, apiGroup: 'rbac.authorization.k8s.io' }];
  const rbac = 'rbac.authorization.k8s.io/v1';
  const bind = (kind: string, to: string, namespace?: string) => ({
    apiVersion: rbac,
    kind,
    metadata: { name: to, ...(namespace === undefined ? {} : { namespace }) },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: to },
    subjects,
  });
  return [
    {
      apiVersion: rbac,
      kind: 'ClusterRole',
      metadata: { name: 'accel-admission' },
      rules: [
        { apiGroups: [''], resources: ['namespaces'], verbs: ['get', 'list', 'watch'] },
        { apiGroups: [''], resources: ['nodes'], verbs: ['list', 'watch'] },
        { apiGroups: [''], resources: ['events'], verbs: ['list', 'watch', 'create'] },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
      ],
    },
    {
      apiVersion: rbac,
      kind: 'ClusterRole',
      metadata: { name: 'accel-pull-secrets' },
      rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'] }],
    },
    bind('ClusterRoleBinding', 'accel-admission'),
    ...namespaces.map((namespace) => bind('RoleBinding', 'accel-pull-secrets', namespace)),
  ];
}

/** The webhook's configuration in the cluster: two entries, so that a pod is asked about once. */
export function webhookConfiguration(url: string, caBundle: string): object {
  const named = { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['kube-system', RELEASE] };
  const asks = [
    { key: MODE, operator: 'Exists' },
    { key: MODE, operator: 'NotIn', values: ['off'] },
  ];
  const common = {
    clientConfig: { url, caBundle },
    rules: [
      { apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'], scope: 'Namespaced' },
      {
        apiGroups: [''],
        apiVersions: ['v1'],
        resources: ['pods/ephemeralcontainers'],
        operations: ['UPDATE'],
        scope: 'Namespaced',
      },
    ],
    failurePolicy: 'Ignore',
    timeoutSeconds: 3,
    sideEffects: 'NoneOnDryRun',
    reinvocationPolicy: 'IfNeeded',
    admissionReviewVersions: ['v1'],
  };
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'accel' },
    webhooks: [
      {
        ...common,
        name: 'pods.accel.dev',
        objectSelector: { matchExpressions: asks },
        namespaceSelector: { matchExpressions: [named] },
      },
      {
        ...common,
        name: 'namespaces.accel.dev',
        objectSelector: { matchExpressions: [{ key: MODE, operator: 'DoesNotExist' }] },
        namespaceSelector: { matchExpressions: [...asks, named] },
      },
    ],
  };
}

/** Starts the webhook with a configuration, and registers it. */
export async function startWebhook(
  cluster: TestCluster,
  config: { readonly cluster?: object; readonly registries?: object[] },
): Promise<TestWebhook> {
  const folder = join(cluster.folder, `webhook-${Math.random().toString(36).slice(2)}`);
  await mkdir(folder);
  const { ca, cert: certFile, key: keyFile } = await makeCertificates(folder);
  const admission = { listen: '127.0.0.1:0', certFile, keyFile };
  const whole = CONFIG_SCHEMA.parse({
    ...config,
    cluster: { kubeconfig: cluster.kubeconfig(WEBHOOK_USER), namespace: RELEASE, admission, ...config.cluster },
  });
  const { context, log, signals, figure, stop } = roleSurroundings('admission', whole);
  const { lifecycle, metrics } = context;
  const { port, flushed } = await startAdmission(context);
  await eventually(async () => lifecycle.unready().length === 0);
  const url = `https://127.0.0.1:${port}/mutate`;
  const content = webhookConfiguration(url, (await readFile(ca)).toString('base64'));
  await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(content) });
  return {
    port,
    url,
    metrics,
    log,
    signal: (name) => void signals.emit(name, name),
    flushed,
    figure,
    stop,
  };
}
