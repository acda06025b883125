/** The agent's metrics, `accel_agent_*` (docs/agent.md, "Metrics"). */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

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
  readonly uploads: () => number;
  readonly uploadsWaiting: () => number;
  readonly members: () => number;
  readonly suspects: () => number;
  readonly swarms: () => number;
  readonly tracked: () => number;
}

/** All metrics of one agent. */
export class AgentMetrics {
  readonly registry = new Registry();
  /** Bytes of pieces taken from other agents. */
  readonly fromPeers = this.#counter('accel_agent_peer_received_bytes_total', 'Bytes of pieces received from other agents.');
  /** Bytes of pieces given to other agents. */
  readonly toPeers = this.#counter('accel_agent_peer_sent_bytes_total', 'Bytes of pieces sent to other agents.');
  /** Bytes from origins, by registry. */
  readonly fromOrigin = this.#counter('accel_agent_origin_received_bytes_total', 'Bytes received from registries.', ['registry']);
  /** Bytes given to clients, by registry. */
  readonly toClients = this.#counter('accel_agent_client_sent_bytes_total', 'Bytes sent to clients.', ['registry']);
  /** Requests of clients, by kind and status. */
  readonly requests = this.#counter('accel_agent_client_requests_total', 'Requests of clients.', ['kind', 'status']);
  /** Seconds to the first byte of an answer to a client. */
  readonly firstByte = new Histogram({
    name: 'accel_agent_client_first_byte_seconds',
    help: 'Seconds to the first byte of an answer to a client.',
    labelNames: ['kind'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30],
    registers: [this.registry],
  });
  /** Requests to other agents that gave no piece, by reason. */
  readonly peerFailures = this.#counter('accel_agent_peer_failures_total', 'Requests to other agents that gave no piece.', ['reason']);
  /** Pieces that were refused, by reason. */
  readonly refusedPieces = this.#counter('accel_agent_refused_pieces_total', 'Pieces that were not what they should be.', ['reason']);
  /** Requests of other agents, by status. */
  readonly peerRequests = this.#counter('accel_agent_peer_requests_total', 'Requests of other agents.', ['status']);
  /** Nodes that signed a wrong piece. */
  readonly banned = this.#counter('accel_agent_banned_nodes_total', 'Nodes banned because they signed a wrong piece.');
  /** Blobs whose digest was wrong at the end of a pull. */
  readonly wrongDigests = this.#counter('accel_agent_wrong_digests_total', 'Blobs that were quarantined for a wrong digest.');
  /** Decisions about access, by outcome. */
  readonly access = this.#counter('accel_agent_access_total', 'Decisions about access to cached content.', ['outcome']);

  /** Registers figures that other parts keep. */
  observe(gauges: AgentGauges): void {
    const help: Readonly<Record<keyof AgentGauges, readonly [string, string]>> = {
      cacheUsed: ['accel_agent_cache_used_bytes', 'Bytes of the cache on disk.'],
      cacheAllocated: ['accel_agent_cache_allocated_bytes', 'Bytes that the cache may use on disk.'],
      cacheMemory: ['accel_agent_cache_memory_bytes', 'Bytes of pieces in memory.'],
      cachePieces: ['accel_agent_cache_pieces', 'Pieces in memory and on disk.'],
      cacheQueued: ['accel_agent_cache_write_queue', 'Pieces that wait to be written.'],
      cacheUnwritten: ['accel_agent_cache_unwritten_pieces', 'Pieces that could not be written since the start.'],
      cacheDamaged: ['accel_agent_cache_damaged_pieces', 'Pieces found damaged on disk since the start.'],
      piecesInFlight: ['accel_agent_pieces_in_flight', 'Pieces under way to this node.'],
      originWaiting: ['accel_agent_origin_queue', 'Requests to registries that wait for their turn.'],
      uploads: ['accel_agent_uploads', 'Pieces on their way to other agents.'],
      uploadsWaiting: ['accel_agent_upload_queue', 'Pieces that wait for an upload slot.'],
      members: ['accel_agent_members', 'Members of the peer network in the current view.'],
      suspects: ['accel_agent_suspects', 'Members that did not answer lately.'],
      swarms: ['accel_agent_swarms', 'Blobs that this node wants.'],
      tracked: ['accel_agent_tracked_swarms', 'Blobs that this node tracks.'],
    };
    for (const [key, [name, text]] of Object.entries(help)) {
      const read = gauges[key as keyof AgentGauges];
      new Gauge({
        name,
        help: text,
        registers: [this.registry],
        collect() {
          this.set(read());
        },
      });
    }
  }

  #counter<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }
}
