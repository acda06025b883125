/** Reports what one node served and pulled, as GET /api/v1/agent answers it (docs/metrics.md); the console's cluster page gathers it from all nodes. */
import { VERSION } from '../../base/version.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import type { ImageTotal } from '../telemetry/image-totals.ts';
import type { NodeFitness } from './node/node-fitness.ts';
import type { PeerProblem } from './peers/peer-watch.ts';
import type { StoreStatistics } from './pieces/store-statistics.ts';

/** The document. Fields are added, never renamed. */
export interface AgentReport {
  /** Of the document: 1. */
  readonly schemaVersion: 1;
  /** `IP:PORT` by which other agents reach it. */
  readonly node: string;
  readonly zone: string;
  readonly version: string;
  /** RFC 3339; figures count from here. */
  readonly started: string;
  /** Why it cannot serve well now; null when it can. */
  readonly unready: string | null;
  /** Lists what does not work though it serves: `peers: …`, `certificate: …`, `cache: …`. */
  readonly degraded: readonly string[];
  readonly members: number;
  /** Members that could not be reached when they were last asked, the latest first; at most 20. */
  readonly peers: readonly PeerProblem[];
  /** Bytes since the start. */
  readonly bytes: Readonly<Record<'toClients' | 'toPeers' | 'fromPeers' | 'fromOrigin' | 'fromEngine', number>>;
  /** Bytes and pieces of the cache. */
  readonly cache: Readonly<Record<'allocated' | 'used' | 'memory' | 'pieces', number>>;
  /** Repositories of late, at most 500, the last used first. */
  readonly images: readonly ImageTotal[];
  /** Whether accelerated images can run on the node; absent unless `agent.nodeCheck` is set and has looked once. */
  readonly accelerated?: NodeFitness;
}

/** Parts of {@link reportAgent}. */
export interface ReportSources {
  readonly self: { readonly id: string; readonly zone: string };
  readonly metrics: AgentMetrics;
  readonly started: Date;
  readonly unready: string | undefined;
  readonly degraded: readonly string[];
  readonly members: number;
  readonly peers: readonly PeerProblem[];
  readonly store: StoreStatistics;
}

/** Writes the document. */
export async function reportAgent(from: ReportSources): Promise<AgentReport> {
  const { self, metrics, started, unready, degraded, members, peers, store } = from;
  const sum = async (counter: AgentMetrics['toClients']) =>
    (await counter.get()).values.reduce((total, { value }) => total + value, 0);
  return {
    schemaVersion: 1,
    node: self.id,
    zone: self.zone,
    version: VERSION,
    started: started.toISOString(),
    unready: unready ?? null,
    degraded,
    members,
    peers,
    bytes: {
      toClients: await sum(metrics.toClients),
      toPeers: await sum(metrics.toPeers),
      fromPeers: await sum(metrics.fromPeers),
      fromOrigin: await sum(metrics.fromOrigin),
      fromEngine: await sum(metrics.fromEngine),
    },
    cache: { allocated: store.allocated, used: store.used, memory: store.memory, pieces: store.pieces },
    images: metrics.activity.images.list(),
  };
}

/** Lists the parts that do not work, each with its reason. */
export function degradedParts(reasons: Readonly<Record<string, string | undefined>>): readonly string[] {
  return Object.entries(reasons).flatMap(([part, reason]) => (reason === undefined ? [] : [`${part}: ${reason}`]));
}
