/** Several agents in one process, on loopback, with certificates of their own: what tests and the demonstration pull through. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Agent, type AgentOptions, startAgent } from '../agent/agent.ts';
import { issueNodeCertificate } from '../agent/certificates.ts';
import { staticMembers } from '../agent/peers/member-sources.ts';
import type { Identity } from '../agent/pieces/attestation.ts';
import type { Upstream } from '../agent/pieces/upstreams.ts';
import { createAuthority } from '../certificates/authority.ts';
import { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { createMetrics } from '../telemetry/metrics.ts';

/** Options of a cluster. */
export interface ClusterOptions {
  readonly size: number;
  readonly upstreams: readonly Upstream[];
  /** Speak in the clear between agents. */
  readonly plain?: boolean;
  /** Certificate of the node with this number; one of a common authority unless given. */
  readonly identity?: (node: number, id: string) => Promise<Identity | undefined>;
  /** Zone of the node with this number. */
  readonly zone?: (node: number) => string;
  /** Changes an agent's options. */
  readonly change?: (options: AgentOptions, node: number) => AgentOptions;
}

/** A node of a cluster. */
export interface ClusterNode {
  readonly agent: Agent;
  readonly id: string;
  /** `http://127.0.0.1:port` for clients. */
  readonly url: string;
}

/** Agents that know each other. */
export interface Cluster {
  readonly nodes: readonly ClusterNode[];
  close(): Promise<void>;
}

/** Starts the agents. Their caches are in one temporary folder, which {@link Cluster.close} removes. */
export async function startCluster({
  size,
  upstreams,
  plain = false,
  identity: identityOf,
  zone = () => '',
  change = (options) => options,
}: ClusterOptions): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), 'accel-agents-'));
  const ports = await freePorts(size);
  const ids = ports.map((port) => `127.0.0.1:${port}`);
  const now = Date.now();
  const validity = { from: new Date(now - 60_000), to: new Date(now + 86_400_000) };
  const authority = plain ? undefined : await createAuthority('agents of a test', validity);
  const members = staticMembers(ids.map((id, node) => `${id} ${zone(node)}`.trim()));
  const nodes: ClusterNode[] = [];
  const close = async () => {
    await Promise.all(nodes.map(({ agent }) => agent.close()));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    for (const [node, id] of ids.entries()) {
      const common = authority && { ca: authority.cert, ...(await issueNodeCertificate(authority, id, validity)) };
      const identity = identityOf === undefined ? common : await identityOf(node, id);
      const options = change(
        {
          self: { id, zone: zone(node) },
          upstreams,
          members,
          identity,
          clients: { host: '127.0.0.1', port: 0 },
          peers: { host: '127.0.0.1', port: ports[node]! },
          metrics: new AgentMetrics(createMetrics('agent')),
          ...localAgent(join(folder, String(node))),
        },
        node,
      );
      const agent = await startAgent(options);
      nodes.push({ agent, id, url: `http://127.0.0.1:${agent.addresses.clients.port}` });
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { nodes, close };
}

/** The options of an agent for tests: its cache in a folder, no rates, and silence. */
export function localAgent(directory: string) {
  return {
    store: { directory, capacity: 2 ** 30, memory: 64 * 2 ** 20, ttl: 3_600_000, keepFree: 0 },
    contentStore: undefined,
    blockPrefix: 'dadip2p',
    access: { ttl: 300_000, grace: 3_600_000 },
    staleTags: false,
    strict: false,
    rates: { toClients: Infinity, toPeers: Infinity, fromOrigin: Infinity },
    concurrency: 128,
    log: () => undefined,
  } satisfies Partial<AgentOptions>;
}

/** Ports of loopback that are free now. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
