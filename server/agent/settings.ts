/** From the configuration file's `registries` and `agent` sections to what an agent is told. */
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AccelError } from '../../base/error.ts';
import type { AgentOptions, Listen } from './agent.ts';
import { ACCESS_TIMES } from './access.ts';
import { dnsMembers, fileMembers, parseMember, staticMembers } from './peers/member-sources.ts';
import type { MemberSource } from './peers/peers.ts';
import type { Identity } from './pieces/attestation.ts';

/** A registry of the configuration. */
export interface RegistrySettings {
  readonly host: string;
  readonly plain?: boolean | undefined;
  readonly insecure?: boolean | undefined;
  readonly rootCa?: string | undefined;
}

/** The `agent` section; every key may be left out. */
export interface AgentSettings {
  readonly listen?: string | undefined;
  readonly metrics?: string | undefined;
  readonly peers?:
    | {
        readonly listen?: string | undefined;
        readonly advertise?: string | undefined;
        readonly zone?: string | undefined;
        readonly members?: readonly string[] | undefined;
        readonly file?: string | undefined;
        readonly dns?: string | undefined;
        readonly plaintext?: boolean | undefined;
        readonly certificates?: { readonly ca: string; readonly cert: string; readonly key: string } | undefined;
      }
    | undefined;
  readonly cache?:
    | {
        readonly capacity?: number | undefined;
        readonly memory?: number | undefined;
        readonly directory?: string | undefined;
        readonly ttlSeconds?: number | undefined;
        readonly keepFree?: number | undefined;
      }
    | undefined;
  readonly contentStore?: string | undefined;
  readonly blockPrefix?: string | undefined;
  readonly authTtlSeconds?: number | undefined;
  readonly authGraceSeconds?: number | undefined;
  readonly tags?: 'origin' | 'stale-if-error' | undefined;
  readonly proxyConcurrencyLimit?: number | undefined;
  /** Bytes a second. */
  readonly limits?: { readonly clients?: number | undefined; readonly peers?: number | undefined; readonly origin?: number | undefined } | undefined;
}

/** Values of keys that are left out; docs/agent.md lists them. */
export const AGENT_DEFAULTS = {
  listen: '127.0.0.1:65001',
  metrics: '127.0.0.1:65003',
  peerPort: 65_002,
  capacity: 4_294_967_296,
  memory: 256 * 2 ** 20,
  ttlSeconds: 86_400,
  keepFree: 0.1,
  contentStore: '/var/lib/containerd/io.containerd.content.v1.content/blobs',
  blockPrefix: 'dadip2p',
  concurrency: 128,
} as const;

/** Works out an agent's options. Throws `usage` for values that do not fit together, `io-error` for certificates that cannot be read. */
export async function agentOptions(
  registries: readonly RegistrySettings[],
  settings: AgentSettings,
  log: (line: string) => void,
): Promise<AgentOptions> {
  const peers = settings.peers ?? {};
  const listen = parseListen(peers.listen ?? `0.0.0.0:${AGENT_DEFAULTS.peerPort}`, 'agent.peers.listen');
  const self = parseMember(`${peers.advertise ?? `127.0.0.1:${listen.port}`} ${peers.zone ?? ''}`.trim(), 'agent.peers.advertise');
  const cache = settings.cache ?? {};
  const rate = (limit: number | undefined) => limit ?? Number.POSITIVE_INFINITY;
  return {
    self,
    upstreams: registries.map(({ host, plain, insecure, rootCa }) => ({
      host,
      options: {
        ...(plain === undefined ? {} : { plain }),
        ...(insecure === undefined ? {} : { insecure }),
        ...(rootCa === undefined ? {} : { rootCa }),
      },
    })),
    members: memberSource(peers, listen.port),
    identity: await readIdentity(peers, self.id),
    clients: parseListen(settings.listen ?? AGENT_DEFAULTS.listen, 'agent.listen'),
    peers: listen,
    metrics: parseListen(settings.metrics ?? AGENT_DEFAULTS.metrics, 'agent.metrics'),
    store: {
      directory: cache.directory ?? join(tmpdir(), `accel-agent-${listen.port}`),
      capacity: cache.capacity ?? AGENT_DEFAULTS.capacity,
      memory: cache.memory ?? AGENT_DEFAULTS.memory,
      ttl: (cache.ttlSeconds ?? AGENT_DEFAULTS.ttlSeconds) * 1000,
      keepFree: cache.keepFree ?? AGENT_DEFAULTS.keepFree,
    },
    contentStore: settings.contentStore ?? AGENT_DEFAULTS.contentStore,
    blockPrefix: settings.blockPrefix ?? AGENT_DEFAULTS.blockPrefix,
    access: {
      ttl: settings.authTtlSeconds === undefined ? ACCESS_TIMES.ttl : settings.authTtlSeconds * 1000,
      grace: settings.authGraceSeconds === undefined ? ACCESS_TIMES.grace : settings.authGraceSeconds * 1000,
    },
    staleTags: settings.tags === 'stale-if-error',
    rates: { toClients: rate(settings.limits?.clients), toPeers: rate(settings.limits?.peers), fromOrigin: rate(settings.limits?.origin) },
    concurrency: settings.proxyConcurrencyLimit ?? AGENT_DEFAULTS.concurrency,
    log,
  };
}

function memberSource(peers: NonNullable<AgentSettings['peers']>, port: number): MemberSource {
  const given = [peers.members, peers.file, peers.dns].filter((source) => source !== undefined);
  if (given.length > 1) {
    throw new AccelError('usage', 'the members of the peer network come from one source', {
      where: { key: 'agent.peers' },
      expected: 'one of members, file and dns',
      found: `${given.length} of them`,
    });
  }
  if (peers.file !== undefined) return fileMembers(peers.file);
  if (peers.dns !== undefined) return dnsMembers(peers.dns, port);
  return staticMembers(peers.members ?? []);
}

async function readIdentity(peers: NonNullable<AgentSettings['peers']>, self: string): Promise<Identity | undefined> {
  const { certificates, plaintext } = peers;
  if (certificates !== undefined) {
    const [ca, cert, key] = await Promise.all([certificates.ca, certificates.cert, certificates.key].map((path) => readFile(path, 'utf8')));
    return { ca: ca!, cert: cert!, key: key! };
  }
  // A node without others has nobody to speak to.
  const alone = peers.members === undefined && peers.file === undefined && peers.dns === undefined;
  if (plaintext === true || alone) return undefined;
  throw new AccelError('usage', 'agents speak to each other with certificates, and none are configured', {
    where: { key: 'agent.peers.certificates', node: self },
    hint: 'Make some with accel agent certificates, or set agent.peers.plaintext: true on a network that you trust.',
  });
}

/** Parses `host:port`. Throws `usage`, naming the key, for anything else. */
export function parseListen(text: string, key: string): Listen {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? Number.NaN);
  if (match !== null && port < 65_536) return { host: (match[1] ?? match[2])!, port };
  throw new AccelError('usage', 'this is not an address to listen on', {
    where: { key },
    expected: 'host:port, such as 127.0.0.1:65001',
    found: text.slice(0, 100),
  });
}
