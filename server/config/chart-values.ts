/**
 * The values of the chart `charts/accel`, as one schema: values.yaml, values.schema.json and the table of docs/kubernetes.md come from it.
 * The parameters of the vendor's P2P component keep their names, so that values that exist keep working.
 */
import { z } from 'zod';
import { duration, path, size, text } from './fields.ts';
import { CONFIG_SCHEMA } from './schema.ts';

const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const OPTIONAL_NAME = /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$/;
const QUANTITY = /^[0-9.]+[A-Za-z]*$/;

const optionalPath = z.union([z.literal(''), path]).default('');
const name = text(NAME, 'a name of lower-case letters, digits, . and -');
const optionalName = text(OPTIONAL_NAME, 'empty, or a name of lower-case letters, digits, . and -').default('');
const port = (number: number) => z.int().min(1).max(65_535).default(number);
/** A part of a pod's specification that is passed on as it is. */
const verbatim = z.record(z.string(), z.unknown());
const resources = (cpu: string, memory: string, limit: string) =>
  verbatim
    .default({ requests: { cpu, memory }, limits: { memory: limit } })
    .describe('Requests and limits, as in a container');
/** Flags that the vendor's component takes as true, false, or text. */
const flag = z.union([z.boolean(), z.enum(['', 'true', 'false'])]).default(false);

const image = z.strictObject({
  repository: z.string().min(1, 'is empty').default('accel').describe('Repository of the image, with its registry'),
  tag: z.string().default('').describe("Tag; the chart's appVersion unless given"),
  digest: text(/^(sha256:[0-9a-f]{64})?$/, 'empty, or sha256: and 64 digits')
    .default('')
    .describe('Digest, which wins over the tag'),
  pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).default('IfNotPresent').describe('When nodes pull it'),
  pullSecrets: z.array(name).default([]).describe('Secrets of the own namespace to pull it with'),
});

const p2p = z.strictObject({
  port: port(65_001).describe('Port of the agents on their nodes, and in the names of images'),
  ratelimit: size.default('512M').describe('Bytes a second to other agents and from them'),
  v2: z
    .strictObject({
      image: z.string().default('').describe("Repository of the agents' image; that of `image` unless given"),
      imageTag: z.string().default('').describe("Tag of the agents' image; that of `image` unless given"),
      proxyConcurrencyLimit: z.int().min(1).max(10_000).default(128).describe('Layers that an agent sends at once'),
      p2pPort: port(65_002).describe('Port between agents'),
      throttleLimitMB: z.number().min(0).default(512).describe('MB a second to the runtimes of a node; 0: no limit'),
      cache: z
        .strictObject({
          capacity: size.default(4_294_967_296).describe('Bytes of the cache of a node'),
          aioEnable: z
            .union([z.boolean(), z.int().min(0).max(1)])
            .default(0)
            .describe('Has no effect: reads and writes never block'),
        })
        .prefault({})
        .describe('Cache of a node'),
      exporter: z
        .strictObject({
          enable: z
            .boolean()
            .default(false)
            .describe('Metrics on all addresses of a node; on loopback alone otherwise'),
          port: port(65_003).describe('Port of metrics and probes'),
        })
        .prefault({})
        .describe('Metrics of agents'),
    })
    .prefault({})
    .describe('The agents'),
  plusMode: z
    .strictObject({
      cacheTTL: duration.default('24h').describe('Time since its last use after which cached data may go'),
      cacheHostPath: z
        .union([z.literal(''), path])
        .default('')
        .describe('Folder of a node for the cache; without one it is lost with the pod'),
      ossInternetAccelerate: flag.describe('Has no effect: the registry says where its blobs are'),
      downloadPattern: z
        .enum(['', 'source'])
        .default('')
        .describe('`source`: agents fetch from the registry alone and share nothing'),
      nodeSelectorEnable: flag.describe('Agents only on nodes with the label k8s.aliyun.com/p2p-plus-node=true'),
    })
    .prefault({})
    .describe('Cache and origin'),
});

const agent = z.strictObject({
  enabled: z.boolean().default(true).describe('An agent on each node'),
  runtimes: z
    .strictObject({
      containerd: z.boolean().default(true).describe('/etc/containerd, and the content store to read'),
      containers: z.boolean().default(false).describe('/etc/containers, for CRI-O and podman'),
      docker: z.boolean().default(false).describe('/etc/docker'),
      overlaybd: z.boolean().default(false).describe('/etc/overlaybd and /opt/overlaybd'),
    })
    .prefault({})
    .describe('Runtimes of the nodes that are set up; their folders are all that is mounted'),
  certificates: z
    .strictObject({
      mode: z
        .enum(['generate', 'secret', 'plaintext'])
        .default('generate')
        .describe(
          'Agents know each other by an authority that the controller makes, by that of a Secret, or speak in the clear',
        ),
      secret: optionalName.describe(
        'Secret with `ca.pem` and `ca-key.pem` (`accel agent certificates`), for mode secret',
      ),
      days: z
        .int()
        .min(1)
        .max(3650)
        .default(3650)
        .describe(
          'Days for which the certificate of an agent holds where there is no controller, so that each pod makes its own when it starts',
        ),
    })
    .prefault({})
    .describe('Certificates between agents'),
  snapshotterFolder: path
    .default('/run/overlaybd-snapshotter')
    .describe("Folder of the snapshotter's socket on the nodes; agents look there whether it answers"),
  credentialProvider: z
    .strictObject({
      config: optionalPath.describe(
        "Path of kubelet's CredentialProviderConfig on the nodes, its option image-credential-provider-config",
      ),
      binaries: optionalPath.describe(
        'Folder of the plugins on the nodes, its option image-credential-provider-bin-dir',
      ),
    })
    .prefault({})
    .describe("Kubelet's credential provider plugins, which devices read with; both paths are mounted"),
  nodeSelector: z.record(z.string(), z.string()).default({}).describe('Labels of the nodes that get an agent'),
  tolerations: z
    .array(verbatim)
    .default([{ operator: 'Exists' }])
    .describe('Taints that agents tolerate; all of them unless given'),
  maxUnavailable: z
    .union([z.int().min(1), text(/^\d{1,2}%$/, 'a number or a percentage')])
    .default(1)
    .describe('Agents that an upgrade replaces at a time'),
  priorityClassName: optionalName.default('system-node-critical').describe('Priority of agents'),
  resources: resources('100m', '256Mi', '1Gi'),
});

const admission = z.strictObject({
  kind: z
    .enum(['webhook', 'policy', 'none'])
    .default('webhook')
    .describe('Who rewrites images: the webhook, a MutatingAdmissionPolicy (p2p alone), or nobody'),
  replicas: z.int().min(1).max(20).default(2).describe('Pods of the webhook'),
  resources: resources('50m', '96Mi', '256Mi'),
});

const certificates = z.strictObject({
  mode: z
    .enum(['self', 'helm', 'cert-manager', 'files'])
    .default('self')
    .describe(
      "The webhook's certificate: made and renewed by the webhook itself, made by Helm at the first installation, by cert-manager, or yours",
    ),
  secret: optionalName.describe('Secret with `tls.crt` and `tls.key`, for mode files'),
  caBundle: z.string().default('').describe('Authority of that certificate, PEM, for mode files'),
  issuer: z
    .strictObject({
      kind: z.enum(['Issuer', 'ClusterIssuer']).default('Issuer').describe('Kind of the issuer'),
      name: optionalName.describe('Name of the issuer; the chart makes a self-signed one unless given'),
    })
    .prefault({})
    .describe('For mode cert-manager'),
});

const controller = z.strictObject({
  enabled: z.boolean().default(true).describe('Copies of pull secrets, and labels of nodes'),
  replicas: z.int().min(1).max(5).default(2).describe('Pods, of which one leads'),
  resources: resources('50m', '96Mi', '256Mi'),
});

const secrets = z.strictObject({
  namespaces: z
    .array(name)
    .default([])
    .describe('Namespaces in which pull secrets are read and copied: permission for secrets is given in these alone'),
  clusterWide: z.boolean().default(false).describe('The same permission in every namespace'),
});

const service = z.strictObject({
  enabled: z.boolean().default(false).describe('The conversion service'),
  workers: z.int().min(1).max(100).default(2).describe('Pods that convert, where the queue is PostgreSQL'),
  storage: z
    .strictObject({
      size: text(QUANTITY, 'a quantity such as 10Gi').default('10Gi').describe('Size of the volume of the queue'),
      className: z.string().default('').describe("Storage class; the cluster's default unless given"),
      existingClaim: optionalName.describe('A claim that exists, in place of one that the chart makes'),
    })
    .prefault({})
    .describe('Volume of the embedded queue'),
  workDirectorySize: text(QUANTITY, 'a quantity such as 20Gi')
    .default('20Gi')
    .describe('Most bytes of layers that are being converted, in a volume of the pod'),
  ingressFrom: z
    .array(verbatim)
    .default([])
    .describe('Who may reach API, hooks and console, as `from` of a NetworkPolicy; everybody unless given'),
  resources: resources('500m', '1Gi', '4Gi'),
});

const monitoring = z.strictObject({
  serviceMonitor: z.boolean().default(false).describe('ServiceMonitors of the Prometheus operator'),
  rules: z.boolean().default(false).describe('The alerts of `alerts/` as a PrometheusRule'),
  dashboards: z
    .boolean()
    .default(false)
    .describe("The dashboards of `dashboards/` as ConfigMaps that Grafana's sidecar reads"),
  labels: z.record(z.string(), z.string()).default({}).describe('Labels by which Prometheus finds these objects'),
});

const networkPolicy = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe('NetworkPolicies; agents are in the network of their nodes, where none applies'),
  metricsFrom: z
    .array(verbatim)
    .default([])
    .describe('Who may read metrics, as `from` of a NetworkPolicy; everybody unless given'),
});

const cleanup = z.strictObject({
  enabled: z.boolean().default(true).describe('Uninstalling puts the files of all nodes back first'),
  timeout: z.int().min(10).max(3600).default(240).describe('Seconds for all nodes together'),
});

const pods = z.strictObject({
  nodeSelector: z.record(z.string(), z.string()).default({}).describe('Labels of nodes'),
  tolerations: z.array(verbatim).default([]).describe('Taints that are tolerated'),
  priorityClassName: optionalName.describe('Priority'),
  annotations: z.record(z.string(), z.string()).default({}).describe('More annotations'),
  labels: z.record(z.string(), z.string()).default({}).describe('More labels'),
});

/** The values. */
export const CHART_VALUES = z.strictObject({
  region: z.string().default('').describe('Region of the instances in `acrInstances` that are given by name'),
  acrInstances: z
    .union([z.string(), z.array(z.string())])
    .default('')
    .describe(
      'Registries, separated by commas: hosts, or names of Container Registry instances in `region`; an ID (cri-…) has no effect',
    ),
  pullImageInternet: flag.describe(
    'Instances that are given by name are reached by their Internet host, and not by -vpc',
  ),
  p2p: p2p.prefault({}).describe('Parameters of the P2P component'),
  config: CONFIG_SCHEMA.prefault({}).describe(
    'The configuration of all roles (docs/configuration.md); what is here wins over the other values',
  ),
  image: image.prefault({}).describe('The image of all roles'),
  registryCredentials: optionalName.describe(
    'Secret of type kubernetes.io/dockerconfigjson by which webhook, controller and service ask registries',
  ),
  agent: agent.prefault({}).describe('The agents'),
  admission: admission.prefault({}).describe('Rewriting of pods'),
  certificates: certificates.prefault({}).describe('Certificate of the webhook'),
  controller: controller.prefault({}).describe('The controller'),
  secrets: secrets.prefault({}).describe('Access to pull secrets'),
  service: service.prefault({}).describe('The conversion service'),
  monitoring: monitoring.prefault({}).describe('Monitoring'),
  networkPolicy: networkPolicy.prefault({}).describe('NetworkPolicies'),
  namespace: z
    .strictObject({
      name: optionalName.describe('Namespace of all objects; that of the release unless given'),
      create: z
        .boolean()
        .default(false)
        .describe('The chart makes it, with the labels of Pod Security that agents need'),
    })
    .prefault({})
    .describe('Namespace'),
  cleanup: cleanup.prefault({}).describe('Before uninstalling'),
  pods: pods.prefault({}).describe('Pods of all roles but the agents'),
  extraVolumes: z.array(verbatim).default([]).describe('More volumes of all pods, such as Secrets that `config` names'),
  extraVolumeMounts: z.array(verbatim).default([]).describe('Where they are mounted'),
  clusterDomain: z.string().min(1, 'is empty').default('cluster.local').describe('Domain of the names of services'),
  fullnameOverride: optionalName.describe('Beginning of all names; made of that of the release unless given'),
  global: verbatim.optional().describe('Values of a chart that has this one as a part; not read'),
});
