/** The agent's metrics, `accel_agent_*` (docs/agent.md, "Metrics"). */
import type { Counter, Histogram } from 'prom-client';
import { Activity } from './activity.ts';
import type { Metrics } from './metrics.ts';

/** Figures that are read when they are asked for. */
export interface AgentGauges {
  readonly cacheUsed: () => number;
  readonly cacheAllocated: () => number;
  readonly cacheMemory: () => number;
  readonly cachePieces: () => number;
  readonly cacheQueued: () => number;
  readonly cacheUnwritten: () => number;
  readonly cacheDamaged: () => number;
  readonly piecesInFlight: () => number;
  readonly originWaiting: () => number;
  readonly clientPieces: () => number;
  readonly uploads: () => number;
  readonly uploadsWaiting: () => number;
  readonly cacheOff: () => number;
  readonly alone: () => number;
  readonly unreached: () => number;
  readonly certificateEnds: () => number;
  readonly members: () => number;
  readonly membersAge: () => number;
  readonly suspects: () => number;
  readonly swarms: () => number;
  readonly tracked: () => number;
  readonly prefetches: () => number;
  readonly prefetchesPaused: () => number;
}

/** All metrics of one agent. */
export class AgentMetrics {
  readonly #metrics: Metrics;
  /** Operations one by one: for the audit log, DADI's metrics and the totals by image. */
  readonly activity: Activity;
  /** Bytes of pieces taken from other agents, by registry. */
  readonly fromPeers: Counter;
  /** Bytes of pieces given to other agents, by registry. */
  readonly toPeers: Counter;
  /** Bytes of pieces from the engine of the node, such as Dragonfly. */
  readonly fromEngine: Counter;
  /** Requests to the engine that gave no piece, by reason. */
  readonly engineFailures: Counter;
  /** Bytes from origins, by registry. */
  readonly fromOrigin: Counter;
  /** Bytes given to clients, by registry. */
  readonly toClients: Counter;
  /** Requests of clients, by kind and status. */
  readonly requests: Counter;
  /** Seconds to the first byte of an answer to a client. */
  readonly firstByte: Histogram;
  /** Requests to other agents that gave no piece, by reason. */
  readonly peerFailures: Counter;
  /** Pieces that were refused, by reason. */
  readonly refusedPieces: Counter;
  /** Requests of other agents, by status. */
  readonly peerRequests: Counter;
  /** Connections of other agents that ended before their handshake did. */
  readonly refusedHandshakes: Counter;
  /** Nodes that signed a wrong piece. */
  readonly banned: Counter;
  /** Blobs whose digest was wrong at the end of a pull. */
  readonly wrongDigests: Counter;
  /** Decisions about access, by outcome. */
  readonly access: Counter;
  /** Runs of kubelet's credential provider plugins, by plugin and outcome. */
  readonly credentialPlugins: Counter;
  /** Certificates that this agent asked for, by outcome. */
  readonly renewals: Counter;
  /** Processes that took the place of another, by reason. */
  readonly restarts: Counter;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    this.activity = new Activity(metrics);
    const counter = (name: string, help: string, labels: readonly string[] = []) =>
      metrics.counter({ name, help, labels });
    this.fromPeers = counter('agent_peer_received_bytes_total', 'Bytes of pieces received from other agents.', [
      'registry',
    ]);
    this.toPeers = counter('agent_peer_sent_bytes_total', 'Bytes of pieces sent to other agents.', ['registry']);
    this.fromEngine = counter('agent_engine_received_bytes_total', 'Bytes of pieces received from the engine.');
    this.engineFailures = counter('agent_engine_failures_total', 'Requests to the engine that gave no piece.', [
      'reason',
    ]);
    this.fromOrigin = counter('agent_origin_received_bytes_total', 'Bytes received from registries.', ['registry']);
    this.toClients = counter('agent_client_sent_bytes_total', 'Bytes sent to clients.', ['registry']);
    this.requests = counter('agent_client_requests_total', 'Requests of clients.', ['kind', 'status']);
    this.peerFailures = counter('agent_peer_failures_total', 'Requests to other agents that gave no piece.', [
      'reason',
    ]);
    this.refusedPieces = counter('agent_refused_pieces_total', 'Pieces that were not what they should be.', ['reason']);
    this.peerRequests = counter('agent_peer_requests_total', 'Requests of other agents.', ['status']);
    this.refusedHandshakes = counter(
      'agent_refused_handshakes_total',
      'Connections of other agents that ended before their handshake did.',
    );
    this.banned = counter('agent_banned_nodes_total', 'Nodes banned because they signed a wrong piece.');
    this.wrongDigests = counter('agent_wrong_digests_total', 'Blobs that were quarantined for a wrong digest.');
    this.access = counter('agent_access_total', 'Decisions about access to cached content.', ['outcome']);
    this.credentialPlugins = counter(
      'agent_credential_plugin_runs_total',
      "Runs of kubelet's credential provider plugins.",
      ['plugin', 'outcome'],
    );
    this.renewals = counter('agent_certificate_renewals_total', 'Certificates that this agent asked for.', ['outcome']);
    this.restarts = counter('agent_worker_restarts_total', 'Processes that took the place of another.', ['reason']);
    this.firstByte = metrics.histogram({
      name: 'agent_client_first_byte_seconds',
      help: 'Seconds to the first byte of an answer to a client.',
      labels: ['kind'],
    });
  }

  /** Connections that were ended or refused to make room for others, by port: `clients`, `peers`, `metrics`. */
  get endedConnections(): Counter {
    return this.#metrics.endedConnections;
  }

  /** Bytes that clients got beyond those that registries sent, by registry: negative on a node that fetches for others. */
  #observeSaved(): void {
    const gauge = this.#metrics.gauge({
      name: 'agent_saved_bytes',
      help: 'Bytes sent to clients less those received from registries.',
      labels: ['registry'],
    });
    const collect = async () => {
      const sums = new Map<string, number>();
      const add = async (counter: Counter, sign: number) => {
        for (const { labels, value } of (await counter.get()).values) {
          const registry = String(labels.registry);
          sums.set(registry, (sums.get(registry) ?? 0) + sign * value);
        }
      };
      await add(this.toClients, 1);
      await add(this.fromOrigin, -1);
      for (const [registry, bytes] of sums) gauge.set({ registry }, bytes);
    };
    Object.assign(gauge, { collect });
  }

  /** Registers figures that other parts keep. */
  observe(gauges: AgentGauges): void {
    this.#observeSaved();
    const help: Readonly<Record<keyof AgentGauges, readonly [string, string]>> = {
      cacheUsed: ['agent_cache_used_bytes', 'Bytes of the cache on disk.'],
      cacheAllocated: ['agent_cache_allocated_bytes', 'Bytes that the cache may use on disk.'],
      cacheMemory: ['agent_cache_memory_bytes', 'Bytes of pieces in memory.'],
      cachePieces: ['agent_cache_pieces', 'Pieces in memory and on disk.'],
      cacheQueued: ['agent_cache_write_queue', 'Pieces that wait to be written.'],
      cacheUnwritten: ['agent_cache_unwritten_pieces', 'Pieces that could not be written since the start.'],
      cacheDamaged: ['agent_cache_damaged_pieces', 'Pieces found damaged on disk since the start.'],
      piecesInFlight: ['agent_pieces_in_flight', 'Pieces under way to this node.'],
      clientPieces: ['agent_client_pieces', 'Pieces that transfers to clients hold in memory.'],
      originWaiting: ['agent_origin_queue', 'Requests to registries that wait for their turn.'],
      uploads: ['agent_uploads', 'Pieces on their way to other agents.'],
      uploadsWaiting: ['agent_upload_queue', 'Pieces that wait for an upload slot.'],
      cacheOff: ['agent_cache_off', '1 while the disk of the cache cannot be written.'],
      alone: ['agent_alone', '1 while no other member can be reached.'],
      unreached: ['agent_unreached_members', 'Members that could not be reached when they were last asked.'],
      certificateEnds: ['agent_certificate_end_seconds', 'When the certificate ends, since 1970; 0 without one.'],
      members: ['agent_members', 'Members of the peer network in the current view.'],
      membersAge: ['agent_members_age_seconds', 'Seconds since the list of members was known to be right.'],
      suspects: ['agent_suspects', 'Members that did not answer lately.'],
      swarms: ['agent_swarms', 'Blobs that this node wants.'],
      tracked: ['agent_tracked_swarms', 'Blobs that this node tracks.'],
      prefetches: ['agent_prefetches', 'Prefetches of images that run on this node.'],
      prefetchesPaused: ['agent_prefetches_paused', 'Pieces whose prefetch pauses while clients wait.'],
    };
    for (const [key, [name, text]] of Object.entries(help)) {
      const read = gauges[key as keyof AgentGauges];
      const gauge = this.#metrics.gauge({ name, help: text });
      // prom-client calls it whenever the metrics are asked for.
      Object.assign(gauge, { collect: () => gauge.set(read()) });
    }
  }
}
