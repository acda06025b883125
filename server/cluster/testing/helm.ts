/** The chart for tests: rendered, and value sets that together reach every template. */
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { requireTool, run } from '../../../tests/support/tools.ts';

/** The chart. */
export const CHART = join(import.meta.dirname, '../../../charts/accel');
/** Release and namespace of rendered manifests. */
export const RELEASE = 'accel';

/** Values as a file has them. */
export type Values = Readonly<Record<string, unknown>>;

/** A manifest of the chart, as far as tests look at it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: a test reads fields of any kind
  readonly [field: string]: any;
}

const SEED = { acrInstances: 'test-registry-vpc.cn-hangzhou.cr.aliyuncs.com' };

/** Value sets by name. */
export const VALUE_SETS: Readonly<Record<string, Values>> = {
  'no values': {},
  'one registry': SEED,
  'the parameters of the P2P component': {
    region: 'cn-hangzhou',
    acrInstances: 'one,two',
    pullImageInternet: true,
    certificates: { mode: 'helm' },
    p2p: {
      port: 65101,
      ratelimit: '256M',
      v2: {
        image: 'registry.example.com/accel-agent',
        imageTag: 'v1',
        proxyConcurrencyLimit: 64,
        p2pPort: 65102,
        cache: { capacity: 8589934592, aioEnable: 1 },
        exporter: { enable: true, port: 65103 },
        throttleLimitMB: 128,
      },
      plusMode: {
        cacheTTL: '72h',
        cacheHostPath: '/data/accel',
        ossInternetAccelerate: true,
        downloadPattern: 'source',
        nodeSelectorEnable: true,
      },
    },
  },
  'a configuration': {
    config: {
      registries: [{ host: 'registry.example.com:5000', plain: true }, { host: 'other.example.com' }],
      cluster: { excludedNamespaces: ['kube-system', 'monitoring'], p2p: { hostForm: 'drop-vpc' } },
      agent: { tags: 'stale-if-error', cache: { memory: '128Mi' } },
      telemetry: { timestamps: false },
      drain: '20s',
    },
  },
  'secrets of two namespaces': { ...SEED, secrets: { namespaces: ['team-a', 'team-b'] } },
  'secrets everywhere, one pod each': {
    ...SEED,
    secrets: { clusterWide: true },
    admission: { replicas: 1 },
    controller: { replicas: 1 },
  },
  'a policy in place of the webhook': { ...SEED, admission: { kind: 'policy' } },
  'agents alone, all runtimes, no certificates': {
    ...SEED,
    admission: { kind: 'none' },
    controller: { enabled: false },
    networkPolicy: { enabled: false },
    cleanup: { enabled: false },
    agent: {
      runtimes: { containers: true, docker: true, overlaybd: true },
      certificates: { mode: 'plaintext' },
      snapshotterFolder: '/run/containerd-overlaybd',
      credentialProvider: { config: '/etc/kubernetes/provider.yaml', binaries: '/usr/libexec/plugins' },
      nodeSelector: { pool: 'images' },
      tolerations: [{ key: 'gpu', operator: 'Exists' }],
      maxUnavailable: '10%',
    },
  },
  'cert-manager, monitoring, a namespace of its own': {
    ...SEED,
    namespace: { name: 'images', create: true },
    certificates: { mode: 'cert-manager' },
    monitoring: { serviceMonitor: true, rules: true, dashboards: true, labels: { release: 'prometheus' } },
    networkPolicy: { metricsFrom: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }] },
  },
  'certificates that exist': {
    ...SEED,
    certificates: {
      mode: 'files',
      secret: 'webhook-tls',
      caBundle: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
    },
    agent: { certificates: { mode: 'secret', secret: 'agents-authority' } },
    image: { repository: 'registry.example.com/accel', digest: `sha256:${'a'.repeat(64)}`, pullSecrets: ['pull'] },
    registryCredentials: 'registry-login',
  },
  'the service with the embedded queue': {
    agent: { enabled: false },
    service: { enabled: true, storage: { className: 'fast', size: '1Gi' } },
    config: {
      registries: [{ host: 'registry.example.com' }],
      rules: [{ repositories: ['registry.example.com/team/*'] }],
    },
    extraVolumes: [{ name: 'hooks', secret: { secretName: 'hooks' } }],
    extraVolumeMounts: [{ name: 'hooks', mountPath: '/run/hooks', readOnly: true }],
    pods: {
      nodeSelector: { pool: 'system' },
      tolerations: [{ operator: 'Exists' }],
      annotations: { a: 'b' },
      labels: { c: 'd' },
    },
  },
  'the service on PostgreSQL': {
    service: { enabled: true, workers: 3, ingressFrom: [{ podSelector: {} }] },
    config: {
      registries: [{ host: 'registry.example.com' }],
      rules: [{ repositories: ['registry.example.com/team/*'] }],
      service: { store: 'postgres://accel@db.example.com/accel' },
    },
    fullnameOverride: 'images',
  },
};

/** Runs Helm; its output. Throws with what it said. */
export async function helm(args: readonly string[], input?: string): Promise<string> {
  const { stdout } = await run(requireTool('helm'), args, input === undefined ? {} : { input });
  return stdout.toString('utf8');
}

/** Renders the chart, hooks included. Throws with Helm's words. */
export async function render(values: Values, args: readonly string[] = []): Promise<readonly Manifest[]> {
  const fixed = ['template', RELEASE, CHART, '--namespace', RELEASE, '--kube-version', '1.37.2', '--values', '-'];
  return manifestsIn(await helm([...fixed, ...args], JSON.stringify(values)));
}

/** The manifests of a text. */
export function manifestsIn(text: string): readonly Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    const manifest = document.toJS() as Manifest | null;
    return manifest === null ? [] : [manifest];
  });
}

/** The one manifest of a kind and name. Throws unless there is exactly one. */
export function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  if (found.length !== 1) throw new Error(`${found.length} of ${kind} ${name}`);
  return found[0]!;
}
