/**
 * The configuration of all roles, as one schema: the types, the checks, docs/configuration.md and values.schema.json come
 * from it. Names are a contract with the files that people have; a key is added, never renamed.
 */
import { z } from 'zod';
import { cluster, signerName } from './cluster-schema.ts';
import { ADDRESS, address, duration, HOST, path, patterns, portOf, size, text } from './fields.ts';

// Without flags: JSON Schema has none.
const HOOK_REGISTRY = /^[A-Za-z0-9{]([A-Za-z0-9.{}-]*[A-Za-z0-9}])?(:\d{1,5})?$/;
const STORE = /^(postgres(ql)?:\/\/.|[^:/]+$|[^:/]*\/|\.{1,2}\/)/;
/** Names of namespaces and Services. */
const OBJECT_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const BYTE_UNITS: Readonly<Record<string, number>> = {
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

const registry = z.strictObject({
  host: text(HOST, 'a registry host, HOST[:PORT]').describe('Host and port, as in a reference'),
  plain: z.boolean().default(false).describe('Plain HTTP in place of HTTPS'),
  credentialsFile: path.optional().describe("File in the form of Docker's config.json; Docker's own unless given"),
  caFile: path.optional().describe('PEM file of certificate authorities that are trusted beside the system’s'),
});

const texts = z.array(z.string().min(1, 'is empty'));

const rule = z.strictObject({
  repositories: patterns.describe('Globs of HOST/REPOSITORY, of which one must match'),
  excludeRepositories: patterns.optional().describe('Globs of repositories that the rule leaves out'),
  tags: z
    .strictObject({
      include: patterns.optional().describe('Globs of tags, of which one must match; all tags unless given'),
      exclude: patterns.optional().describe('Globs of tags that the rule leaves out'),
    })
    .default({})
    .describe('Tags that the rule covers'),
  mode: z
    .enum(['full', 'index-only'])
    .default('full')
    .describe('Form of the result: full copies, or indexes over the original layers'),
  platforms: texts.optional().describe('Platforms to convert; every Linux platform unless given'),
  prefetch: texts.optional().describe('Paths that a node fetches ahead'),
  prefetchFile: path.optional().describe('File with such paths, one a line'),
  targetRepository: z
    .string()
    .min(1, 'is empty')
    .optional()
    .describe('Where converted images go; beside the source unless given'),
  verify: z
    .enum(['off', 'quick', 'full'])
    .default('off')
    .describe('Verification of a converted image before its tag is set'),
  algorithm: z.enum(['lz4', 'zstd']).optional().describe('Compression of blocks; zstd unless given'),
  level: z.int().min(1).max(22).optional().describe('Level of compression: of zstd 1 to 22, of lz4 3 to 12'),
  blockSize: z
    .union([z.int().min(4096).max(65_536), text(/^(4|8|16|32|64)Ki?$/, 'a power of two from 4Ki to 64Ki')])
    .optional()
    .describe('Bytes of a compressed block, a power of two up to 64Ki; 32Ki unless given'),
  layout: z.enum(['source', 'startup']).optional().describe('Order of data: startup puts first what a start reads'),
});

const hook = z
  .strictObject({
    authorizationFile: path.optional().describe('File with the whole Authorization header, compared in constant time'),
    secretFile: path
      .optional()
      .describe(
        'File with a shared secret: of the signature X-Hub-Signature-256, or of the query parameter token for a sender that cannot sign',
      ),
    basicFile: path.optional().describe('File with USER:PASSWORD'),
    registry: text(HOOK_REGISTRY, 'a registry host, HOST[:PORT]')
      .optional()
      .describe(
        'Registry as the rules name it, where the sender does not say it; {repo} in it is the key of an Artifactory repository',
      ),
  })
  .refine(({ authorizationFile, basicFile }) => authorizationFile === undefined || basicFile === undefined, {
    error: 'has authorizationFile and basicFile, and both are the header Authorization: keep one',
  })
  .describe('One receiver; its secret in one of the files');

/** Kinds of registries whose notifications are understood. */
const HOOK_KINDS = [
  'distribution',
  'harbor',
  'github',
  'acr',
  'acr-azure',
  'dockerhub',
  'quay',
  'artifactory',
  'ecr',
  'gar',
  'zot',
  'cloudevents',
] as const;

const notification = z.strictObject({
  expression: z
    .string()
    .min(1, 'is empty')
    .default('_accelerated$')
    .describe('Regular expression that a finished tag must match'),
  url: z.url({ protocol: /^https?$/, error: 'is not an http or https URL' }).describe('Where the notification goes'),
  secretFile: path.optional().describe('File with the secret of the HMAC signature'),
  form: z
    .enum(['webhook', 'cloudevents', 'github-dispatch', 'slack'])
    .default('webhook')
    .describe('Form of the notification'),
});

const intervalOrOff = z.union([z.literal(0), duration]);

const watch = z.strictObject({
  repositories: patterns.describe('Globs of HOST/REPOSITORY; only repositories that a rule covers are looked at'),
  interval: duration.default('5m').describe('Time between two looks at their tags'),
});

const service = z.strictObject({
  listen: address.default('127.0.0.1:8686').describe('Address of API, hooks and console'),
  store: text(STORE, 'a path or a postgres:// URL')
    .default('/var/lib/accel/queue.db')
    .describe('File of the embedded queue, or a postgres:// URL'),
  concurrency: z.int().min(1).max(256).default(1).describe('Conversions at a time'),
  decisions: z.int().min(1).max(256).default(4).describe('Events that are looked at at a time'),
  timeout: duration.default('2h').describe('Time that one conversion may take'),
  memory: size.default('2Gi').describe('Memory that the process of one conversion may use; it is ended beyond'),
  workDirectory: path
    .optional()
    .describe("Folder for converted layers that are not pushed yet; the system's unless given"),
  history: z.int().min(100).max(1_000_000).default(10_000).describe('Ended conversions that are kept, for each state'),
  hooks: z
    .strictObject(
      Object.fromEntries(HOOK_KINDS.map((kind) => [kind, hook.optional()])) as Record<
        (typeof HOOK_KINDS)[number],
        z.ZodOptional<typeof hook>
      >,
    )
    .default({})
    .describe('Receivers of notifications by the kind of registry that sends them'),
  notifications: z.array(notification).default([]).describe('Who hears of finished conversions'),
  tokens: z
    .array(
      z.strictObject({
        name: text(/^[A-Za-z0-9._-]{1,64}$/, 'a name of letters, digits, ., _ and -').describe('Name in the audit log'),
        file: path.describe('File with the token'),
        scope: z.enum(['read', 'write']).default('read').describe('Scope; write includes reading'),
      }),
    )
    .default([])
    .describe('Bearer tokens of the API and the console'),
  agents: z
    .strictObject({
      urls: z
        .array(z.url({ protocol: /^https?$/, error: 'is not an http or https URL' }))
        .optional()
        .describe('Where each agent has its metrics, such as http://10.0.0.1:65003'),
      dns: text(/^[A-Za-z0-9._-]+(:\d{1,5})?$/, 'a name, NAME[:PORT]')
        .optional()
        .describe('Name that resolves to all agents; port 65003 unless given'),
    })
    .refine(({ urls, dns }) => urls === undefined || dns === undefined, {
      error: 'has urls and dns: keep one',
    })
    .default({})
    .describe("Agents that the console's cluster page shows"),
  reconcile: z
    .strictObject({
      interval: intervalOrOff
        .default('6h')
        .describe('Time between two looks at all tags that the rules cover; 0: never, not even at the start'),
      rate: z.number().min(0.01).max(1000).default(5).describe('Images that are looked at a second'),
    })
    .prefault({})
    .describe('Finds images that no event reported'),
  watch: z.array(watch).max(100).default([]).describe('Repositories of registries that send no events'),
  prune: z
    .strictObject({
      enabled: z.boolean().default(false).describe('Looks for accelerated tags whose base is gone or has moved'),
      dryRun: z.boolean().default(true).describe('Only logs what would be removed'),
      interval: duration.default('24h').describe('Time between two looks'),
      olderThan: duration.optional().describe('Keeps tags of images that were built more recently'),
      keepLast: z
        .int()
        .min(0)
        .optional()
        .describe('Keeps this many of the tags that could go, of the images built last, in each repository'),
    })
    .prefault({})
    .describe('Removes accelerated tags that nobody needs'),
});

const share = z.number().min(0).max(0.9);

const certificates = z.strictObject({
  caFile: path.describe('PEM file of the authority of all agents'),
  certFile: path.describe("PEM file of this agent's certificate"),
  keyFile: path.describe("PEM file of this agent's private key"),
});

const peers = z.strictObject({
  static: z
    .array(z.string().min(1, 'is empty'))
    .optional()
    .describe('All agents, each IP:PORT or IP:PORT and its zone'),
  dns: z.string().min(1, 'is empty').optional().describe('Name that resolves to all agents'),
  file: path.optional().describe('File with one agent a line, IP:PORT and its zone; read again when it changes'),
  service: z
    .strictObject({
      name: text(OBJECT_NAME, 'the name of a Service').describe(
        'Service whose EndpointSlices are all agents and their zones',
      ),
      namespace: text(OBJECT_NAME, 'the name of a namespace')
        .optional()
        .describe("Its namespace; that of the pod's service account unless given"),
    })
    .optional()
    .describe('Service of Kubernetes, which is watched; cluster.kubeconfig is the way to the API'),
  certificates: certificates.optional().describe('Certificates by which agents know each other'),
  signer: z
    .strictObject({
      name: signerName.describe('Name that the controller signs for, cluster.controller.agentCertificates.signer'),
      file: path
        .optional()
        .describe(
          'File that keeps key and certificate for a process that comes next, mode 0600; not kept unless given',
        ),
    })
    .optional()
    .describe('Certificates that this agent asks for in Kubernetes and renews, in place of `certificates`'),
  plaintext: z.boolean().default(false).describe('Agents speak in the clear, on a network that is trusted'),
});

const agent = z.strictObject({
  listen: address.default('127.0.0.1:65001').describe('Address of the registry mirror and the block proxy'),
  keepSockets: z
    .boolean()
    .default(true)
    .describe('A small process keeps the sockets, so that clients are not refused while the agent restarts'),
  peerListen: address.default('0.0.0.0:65002').describe('Address that other agents reach'),
  advertise: address
    .optional()
    .describe('IP:PORT by which other agents reach this one, its identity; needed as soon as there are others'),
  peers: peers.prefault({}).describe('The other agents: one of static, dns, file and service'),
  zone: z.string().default('').describe('Zone of this node: agents ask those of their own zone first'),
  cache: z
    .strictObject({
      path: path.default('/var/lib/accel/cache').describe('Folder of the pieces'),
      capacity: size.default('4Gi').describe('Most bytes of pieces on disk'),
      memory: size.default('256Mi').describe('Most bytes of pieces in memory'),
      ttl: duration.default('24h').describe('Time since the last use after which a piece may go'),
      keepFree: share.default(0.1).describe('Share of the file system that stays free'),
    })
    .prefault({})
    .describe('Pieces that this node keeps'),
  contentStore: path
    .default('/var/lib/containerd/io.containerd.content.v1.content/blobs')
    .describe("Folder of the runtime's blobs, which are given to other agents; read, never written"),
  blockPrefix: text(/^[a-z0-9-]+$/, 'a word of letters, digits and -')
    .default('dadip2p')
    .describe("First part of the block proxy's path"),
  authTtl: duration.default('5m').describe('Time for which a registry’s word about a credential counts'),
  authGrace: duration.default('1h').describe('The same while the registry does not answer'),
  tags: z
    .enum(['origin', 'stale-if-error'])
    .default('origin')
    .describe('Tags are asked of the registry each time; with stale-if-error, from memory while it fails'),
  verify: z
    .enum(['stream', 'strict'])
    .default('stream')
    .describe("When a blob's digest is checked: while it streams, or before the runtime gets its first byte"),
  proxyConcurrencyLimit: z.int().min(1).max(10_000).default(128).describe('Blobs that are sent to clients at once'),
  throttleLimitMB: z.number().min(0).default(512).describe('MB a second to clients; 0: no limit'),
  ratelimit: size.default('512M').describe('Bytes a second to other agents and from them; 0: no limit'),
  logAudit: z.boolean().default(false).describe('A line for each operation'),
  logAuditMode: z
    .enum(['stdout', 'file'])
    .default('stdout')
    .describe('Where these lines go: the output, or `audit.log` in `logDir`'),
  logDir: path.default('/dadi-p2p/log').describe('Folder of the audit log'),
  logAuditSize: size.default('64Mi').describe('Bytes after which the file of the audit log is renamed'),
  logAuditFiles: z.int().min(1).max(100).default(5).describe('Renamed files that are kept'),
  originLimit: size.default(0).describe('Bytes a second from registries; 0: no limit'),
  credentials: z
    .strictObject({
      serve: z
        .boolean()
        .default(false)
        .describe('Give the node’s credentials to overlaybd when it asks, on loopback (mode http)'),
      from: path
        .optional()
        .describe(
          "File in the form of Docker's config.json that is asked first, such as a secret of the cluster in a pod",
        ),
      file: path
        .optional()
        .describe('File to write them to for overlaybd, such as /opt/overlaybd/cred.json; not written unless given'),
      refresh: duration.default('30s').describe('Time after which the file is compared with the sources again'),
      kubelet: z
        .strictObject({
          config: path.describe(
            "kubelet's CredentialProviderConfig, as its option image-credential-provider-config names it",
          ),
          binaries: path.describe('Folder of the plugins, as its option image-credential-provider-bin-dir names it'),
          timeout: duration.default('10s').describe('Time for an answer of a plugin'),
        })
        .optional()
        .describe("Credential provider plugins of the node's kubelet, which are asked where no file has a credential"),
    })
    .prefault({})
    .describe(
      'Credentials for lazily loaded devices: of credentialsFile, or of the configuration of Docker and containers',
    ),
  nodeCheck: z
    .strictObject({
      root: path.describe('Folder with the files of the node: /, or where a pod mounts them'),
      every: duration.default('5m').describe('Time between two looks'),
    })
    .optional()
    .describe(
      'Looks whether accelerated images can run on this node, for /api/v1/agent and the label of nodes; off unless given',
    ),
  prefetchLimit: size.default(0).describe('Bytes a second of prefetches, which pause while clients wait; 0: no limit'),
  engine: z
    .enum(['builtin', 'dragonfly', 'spegel', 'none'])
    .default('builtin')
    .describe('Who shares bytes between nodes: the agents, Dragonfly, Spegel beside the agent, or nobody'),
  dragonfly: z
    .strictObject({
      proxy: address.default('127.0.0.1:4001').describe("Address of dfdaemon's HTTP proxy, without TLS"),
    })
    .prefault({})
    .describe('For the engine dragonfly'),
  spegel: z
    .strictObject({
      mirror: address.default('127.0.0.1:30020').describe("Address of Spegel's mirror on this node, its hostPort"),
    })
    .prefault({})
    .describe('For the engine spegel: setup lets containerd ask it before the agent'),
});

/** The whole file. */
export const CONFIG_SCHEMA = z.strictObject({
  registries: z.array(registry).default([]).describe('Registries that may be reached, and how'),
  rules: z
    .array(rule)
    .default([])
    .describe('Images to convert, and their options; the first rule that matches decides'),
  service: service.prefault({}).describe('The conversion service, `accel serve`'),
  agent: agent.prefault({}).describe('The agent of a node, `accel agent`'),
  cluster: cluster
    .prefault({})
    .describe('The roles of a Kubernetes cluster, `accel serve` with the role admission or controller'),
  telemetry: z
    .strictObject({
      listen: address.default('127.0.0.1:65003').describe('Address of /metrics, /healthz, /readyz and /api/v1/agent'),
      standaloneExporterPort: z
        .boolean()
        .default(true)
        .describe('false: the agent answers these paths on the port of its clients, and not on `listen`'),
      timestamps: z
        .boolean()
        .default(true)
        .describe('DADIP2P metrics carry their time; without, Prometheus notices at once when they end'),
    })
    .prefault({})
    .describe('Metrics and health'),
  drain: duration.default('30s').describe('Time that work in progress has to end after SIGTERM'),
});

/** A checked configuration, with all defaults. */
export type Config = z.output<typeof CONFIG_SCHEMA>;

/** Milliseconds of a duration that the schema accepted, where 0 may be off. */
export function milliseconds(value: string | 0): number {
  if (value === 0) return 0;
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  const [, amount, unit] = /^([\d.]+)([a-z]+)$/.exec(value)!;
  return Number(amount) * units[unit!]!;
}

/** Bytes of a size that the schema accepted. */
export function bytesOf(value: number | string): number {
  if (typeof value === 'number') return value;
  const [, amount, unit = ''] = /^([\d.]+)(.*)$/.exec(value)!;
  return Math.floor(Number(amount) * (BYTE_UNITS[unit] ?? 1));
}

/** Host and port of an address that the schema accepted. */
export function hostAndPort(value: string): { readonly host: string; readonly port: number } {
  const [, host = ''] = ADDRESS.exec(value)!;
  return { host: host.replace(/^\[|\]$/g, ''), port: portOf(value) };
}
