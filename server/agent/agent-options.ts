/** Works out an agent's options from the configuration. */
import { AccelError, asAccelError } from '../../base/error.ts';
import { namedHosts } from '../config/p2p-names.ts';
import { bytesOf, type Config, hostAndPort, milliseconds } from '../config/schema.ts';
import type { Handover } from '../handover/handover.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import type { AgentOptions } from './agent.ts';
import { fileCredentials, firstOf, oneFileCredentials } from './device-credentials/credential-sources.ts';
import { KubeletPlugins } from './device-credentials/kubelet-plugins.ts';
import { readProviderConfig } from './device-credentials/provider-config.ts';
import { readIdentity } from './peer-identity.ts';
import { dnsMembers, fileMembers, parseMember, staticMembers } from './peers/member-sources.ts';
import type { MemberSource } from './peers/peers.ts';
import type { Identity } from './pieces/attestation.ts';
import { rarely } from './rarely.ts';

/** Milliseconds for the first view of the members in the place of a process that has served: clients wait meanwhile. */
const VIEW_AFTER_RESTART = 200;

/** Services that an agent gets from its surroundings. */
export interface AgentServices {
  readonly metrics: AgentMetrics;
  /** Sockets of a holder. */
  readonly handover?: Handover | undefined;
  readonly log: (line: string) => void;
}

/**
 * Works out an agent's options. Throws `usage` for values that do not fit together, and for files of certificates that cannot be
 * read or hold something else.
 */
export async function agentOptions(
  { registries, agent, cluster }: Config,
  { handover, ...services }: AgentServices,
): Promise<AgentOptions> {
  const { peers, cache } = agent;
  const listen = hostAndPort(agent.peerListen);
  const alone = peers.static === undefined && peers.dns === undefined && peers.file === undefined;
  if (agent.advertise === undefined && !alone) {
    throw new AccelError('usage', 'other agents need an address by which they know this one', {
      where: { key: 'agent.advertise' },
      expected: "this node's IP and the port of agent.peerListen, such as 10.0.0.1:65002",
    });
  }
  const plugins = await kubeletPlugins(agent.credentials.kubelet, services);
  const p2pNameOf = namedHosts(cluster.p2p.hosts);
  const self = parseMember(`${agent.advertise ?? `127.0.0.1:${listen.port}`} ${agent.zone}`.trim(), 'agent.advertise');
  return {
    self,
    upstreams: registries.map(({ host, plain, caFile }) => ({
      host,
      plain,
      http: caFile === undefined ? {} : { rootCa: caFile },
      p2pName: p2pNameOf(host),
    })),
    members: memberSource(peers, listen.port),
    identity: await identityOf(peers, alone),
    clients: { ...hostAndPort(agent.listen), fd: handover?.sockets.get('clients') },
    peers: { ...listen, fd: handover?.sockets.get('peers') },
    // Clients wait in the queue of the socket when another process has served before this one.
    ...(isReplacement(handover) ? { firstView: VIEW_AFTER_RESTART } : {}),
    store: {
      directory: cache.path,
      capacity: bytesOf(cache.capacity),
      memory: bytesOf(cache.memory),
      ttl: milliseconds(cache.ttl),
      keepFree: cache.keepFree,
    },
    contentStore: agent.contentStore,
    blockPrefix: agent.blockPrefix,
    memory: handover,
    access: { ttl: milliseconds(agent.authTtl), grace: milliseconds(agent.authGrace) },
    strict: agent.verify === 'strict',
    staleTags: agent.tags === 'stale-if-error',
    rates: {
      toClients: rate(agent.throttleLimitMB * 1e6),
      toPeers: rate(bytesOf(agent.ratelimit)),
      fromOrigin: rate(bytesOf(agent.originLimit)),
      prefetch: rate(bytesOf(agent.prefetchLimit)),
    },
    concurrency: agent.proxyConcurrencyLimit,
    engine: agent.engine,
    credentials: {
      serve: agent.credentials.serve,
      file: agent.credentials.file,
      every: milliseconds(agent.credentials.refresh),
      // The cluster's before the node's own, and its files before kubelet's plugins.
      source: firstOf(
        [
          ...(agent.credentials.from === undefined ? [] : [oneFileCredentials(agent.credentials.from)]),
          fileCredentials(registries, process.env),
          ...plugins,
        ],
        () => services.log('a file with credentials of registries cannot be read'),
      ),
    },
    dragonfly: hostAndPort(agent.dragonfly.proxy),
    ...services,
  };
}

/** The plugins of the node's kubelet, where the configuration names them. */
async function kubeletPlugins(
  settings: Config['agent']['credentials']['kubelet'],
  { metrics, log }: Pick<AgentServices, 'metrics' | 'log'>,
): Promise<readonly KubeletPlugins[]> {
  if (settings === undefined) return [];
  const { plugins, withoutPod } = await readProviderConfig(settings.config);
  for (const name of withoutPod) log(`kubelet’s plugin ${name} needs the service account of a pod: it is not asked`);
  const report = rarely((message: string) => log(message));
  const source = new KubeletPlugins({
    plugins,
    folder: settings.binaries,
    env: process.env,
    timeout: milliseconds(settings.timeout),
    onRun: (plugin, outcome) => metrics.credentialPlugins.inc({ plugin, outcome }),
    onFailure: (error) => report(asAccelError(error).message),
  });
  return [source];
}

function isReplacement(handover: Handover | undefined): boolean {
  return handover !== undefined && Object.values(handover.restarts).some((count) => count > 0);
}

/** Bytes a second; 0 stands for no limit. */
function rate(limit: number): number {
  return limit === 0 ? Number.POSITIVE_INFINITY : limit;
}

function memberSource(peers: Config['agent']['peers'], port: number): MemberSource {
  const given = [peers.static, peers.dns, peers.file].filter((source) => source !== undefined);
  if (given.length > 1) {
    throw new AccelError('usage', 'the other agents come from one source', {
      where: { key: 'agent.peers' },
      expected: 'one of static, dns and file',
      found: `${given.length} of them`,
    });
  }
  if (peers.file !== undefined) return fileMembers(peers.file);
  return peers.dns === undefined ? staticMembers(peers.static ?? []) : dnsMembers(peers.dns, port);
}

async function identityOf(peers: Config['agent']['peers'], alone: boolean): Promise<Identity | undefined> {
  if (peers.certificates !== undefined) return readIdentity(peers.certificates);
  // A node without others has nobody to speak to.
  if (peers.plaintext || alone) return undefined;
  throw new AccelError('usage', 'agents speak to each other with certificates, and none are configured', {
    where: { key: 'agent.peers.certificates' },
    hint: 'Make some with `accel agent certificates`, or set agent.peers.plaintext: true on a network that you trust.',
  });
}
