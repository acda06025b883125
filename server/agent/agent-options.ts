/** Works out an agent's options from the configuration. */
import { AccelError, asAccelError } from '../../base/error.ts';
import { namedHosts } from '../config/p2p-names.ts';
import { bytesOf, type Config, hostAndPort, milliseconds } from '../config/schema.ts';
import type { Handover } from '../handover/handover.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import type { AgentOptions } from './agent.ts';
import type { ClusterParts } from './cluster-parts.ts';
import { fileCredentials, firstOf, oneFileCredentials } from './device-credentials/credential-sources.ts';
import { KubeletPlugins } from './device-credentials/kubelet-plugins.ts';
import { readProviderConfig } from './device-credentials/provider-config.ts';
import { OwnCertificate } from './own-certificate.ts';
import { readIdentity } from './peer-identity.ts';
import { boundedSource, dnsMembers, fileMembers, parseMember, staticMembers } from './peers/member-sources.ts';
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
  /** Parts that speak with Kubernetes; without them a configuration that needs them is refused. */
  readonly cluster?: ClusterParts | undefined;
  readonly log: (line: string) => void;
}

/**
 * Works out an agent's options. Throws `usage` for values that do not fit together, and for files of certificates that cannot be
 * read or hold something else.
 */
export async function agentOptions(
  { registries, agent, cluster }: Config,
  { handover, cluster: parts, ...services }: AgentServices,
): Promise<AgentOptions> {
  const { peers, cache } = agent;
  const listen = hostAndPort(agent.peerListen);
  const alone = sourcesOf(peers).length === 0;
  if (agent.advertise === undefined && !alone) {
    throw new AccelError('usage', 'other agents need an address by which they know this one', {
      where: { key: 'agent.advertise' },
      expected: "this node's IP and the port of agent.peerListen, such as 10.0.0.1:65002",
    });
  }
  const plugins = await kubeletPlugins(agent.credentials.kubelet, services);
  const p2pNameOf = namedHosts(cluster.p2p.hosts);
  const self = parseMember(`${agent.advertise ?? `127.0.0.1:${listen.port}`} ${agent.zone}`.trim(), 'agent.advertise');
  const { kubeconfig } = cluster;
  const { log } = services;
  const identity = await identityOf(peers, alone);
  const certificate =
    peers.signer === undefined || alone
      ? undefined
      : await OwnCertificate.open({
          self: self.id,
          issuer: await partsOf(parts).certificates({ kubeconfig, signer: peers.signer.name, log }),
          file: peers.signer.file,
          log,
          onOutcome: (outcome) => services.metrics.renewals.inc({ outcome }),
        });
  return {
    self,
    upstreams: registries.map(({ host, plain, caFile }) => ({
      host,
      plain,
      http: caFile === undefined ? {} : { rootCa: caFile },
      p2pName: p2pNameOf(host),
    })),
    identity,
    certificate,
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
    members: await memberSource(peers, { port: listen.port, self: self.id, kubeconfig, log }, parts),
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

/** The sources of members that are given. */
function sourcesOf({ static: list, dns, file, service }: Config['agent']['peers']): readonly unknown[] {
  return [list, dns, file, service].filter((source) => source !== undefined);
}

function partsOf(parts: ClusterParts | undefined): ClusterParts {
  if (parts !== undefined) return parts;
  throw new AccelError('internal', 'this start of an agent has no way to Kubernetes');
}

async function memberSource(
  peers: Config['agent']['peers'],
  {
    port,
    self,
    kubeconfig,
    log,
  }: { port: number; self: string; kubeconfig: string | undefined; log: (line: string) => void },
  parts: ClusterParts | undefined,
): Promise<MemberSource> {
  const given = sourcesOf(peers);
  if (given.length > 1) {
    throw new AccelError('usage', 'the other agents come from one source', {
      where: { key: 'agent.peers' },
      expected: 'one of static, dns, file and service',
      found: `${given.length} of them`,
    });
  }
  if (peers.service !== undefined) {
    const { name: service, namespace } = peers.service;
    return boundedSource(await partsOf(parts).members({ kubeconfig, namespace, service, port, self, log }));
  }
  if (peers.file !== undefined) return fileMembers(peers.file);
  return peers.dns === undefined ? staticMembers(peers.static ?? []) : dnsMembers(peers.dns, port);
}

async function identityOf(peers: Config['agent']['peers'], alone: boolean): Promise<Identity | undefined> {
  const given = [peers.certificates && 'certificates', peers.signer && 'signer', peers.plaintext && 'plaintext'];
  const ways = given.filter((way) => typeof way === 'string');
  if (peers.signer !== undefined && ways.length > 1) {
    throw new AccelError('usage', 'agents know each other in one way', {
      where: { key: 'agent.peers' },
      expected: 'one of certificates, signer and plaintext',
      found: ways.join(' and '),
    });
  }
  if (peers.certificates !== undefined) return readIdentity(peers.certificates);
  // A node without others has nobody to speak to.
  if (peers.plaintext || peers.signer !== undefined || alone) return undefined;
  throw new AccelError('usage', 'agents speak to each other with certificates, and none are configured', {
    where: { key: 'agent.peers.certificates' },
    hint: 'Make some with `accel agent certificates`, or set agent.peers.plaintext: true on a network that you trust.',
  });
}
