/** The state of a simulation: nodes with their links, pieces, the agenda. */
import {
  type BlobKey,
  blobKey,
  createMembers,
  type Members,
  owners,
  type Peer,
  type Refusal,
  type Source,
  type Swarm,
} from '../agent/peers/topology.ts';
import { EventQueue } from './event-queue.ts';
import { type Random, random } from './random.ts';
import type { Scenario } from './scenario.ts';

/** A link, a processor or a disk: serves one after another at a rate. */
export interface Server {
  readonly rate: number;
  /** When what was given to it so far is done. */
  free: number;
}

/** A piece that a node is getting, and the nodes that it asks. */
export interface Fetch {
  readonly piece: number;
  /** Asks as an owner: of better owners and the origin alone. */
  asOwner: boolean;
  /** The nodes to ask, in order; the origin after the last. */
  sources: readonly Source<SimNode>[];
  readonly refusals: Refusal[];
  transfer: Transfer | undefined;
}

/** One request for a piece, and its answer. */
export interface Transfer {
  readonly source: SimNode;
  readonly target: SimNode;
  readonly piece: number;
  readonly asOwner: boolean;
  /** Not to be refused because of load. */
  readonly insists: boolean;
  refusal: Refusal;
  sent: number;
  onTheWay: number;
  received: number;
  readonly sentEvent: SimEvent;
  readonly arrivedEvent: SimEvent;
  /** Holds one of the source's upload slots. */
  active: boolean;
  ended: boolean;
}

/** A layer that a client reads in order. */
export interface Stream {
  layer: number;
  /** Pieces handed to the client. */
  position: number;
  /** The next piece to ask for. */
  next: number;
  busy: boolean;
}

/** A node; the registry is one too. */
export class SimNode implements Peer {
  readonly number: number;
  readonly zone: string;
  readonly id: string;
  readonly up: Server;
  readonly down: Server;
  readonly processor: Server;
  readonly hashing: Server;
  readonly disk: Server;
  dead = false;
  started = Number.POSITIVE_INFINITY;
  /** Seconds from its start to the last byte, and to the last unpacked one. */
  downloaded: number | undefined;
  finished: number | undefined;
  readonly streams: Stream[] = [];
  nextLayer = 0;
  layersDone = 0;
  readonly layerComplete: boolean[] = [];
  /** Layers unpacked; bytes of the next that are. */
  unpacked = 0;
  unpackedBytes = 0;
  unpacking = false;
  /** The swarm of each layer, as last heard; `joining` until the first answer. */
  readonly swarms: (Swarm<SimNode> | 'joining' | undefined)[] = [];
  readonly fetches = new Map<number, Fetch>();
  /** Transfers from this node that wait for the piece. */
  readonly waiting = new Map<number, Transfer[]>();
  readonly queue: Transfer[] = [];
  slots = 0;
  /** Transfers from this node that have not ended. */
  readonly serving = new Set<Transfer>();
  readonly suspects = new Map<number, number>();
  readonly known = new Set<number>();
  misses: ReadonlySet<number> | undefined;
  uploaded = 0;

  constructor(
    number: number,
    zone: string,
    rates: { readonly up: number; readonly down: number; readonly scenario: Scenario },
  ) {
    this.number = number;
    this.zone = zone;
    this.id = `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}:65002`;
    this.up = server(rates.up);
    this.down = server(rates.down);
    this.processor = server(rates.scenario.processor);
    this.hashing = server(rates.scenario.hashing);
    this.disk = server(rates.scenario.client?.disk ?? Number.POSITIVE_INFINITY);
  }
}

/** Events by their names; each module handles its own. */
export type SimEvent =
  | { readonly type: 'start' | 'die' | 'unpack'; readonly node: SimNode }
  | { readonly type: 'request' | 'sent' | 'arrived' | 'refused'; readonly transfer: Transfer }
  | { readonly type: 'ready'; readonly node: SimNode; readonly piece: number }
  | { readonly type: 'consumed'; readonly node: SimNode; readonly stream: Stream }
  | { readonly type: 'join'; readonly node: SimNode; readonly layer: number; readonly pause: number }
  | { readonly type: 'swarm'; readonly node: SimNode; readonly layer: number; readonly pause: number };

/** Counts over all nodes. */
export interface Counts {
  events: number;
  originBytes: number;
  crossZoneBytes: number;
  requests: number;
  refused: number;
}

/** More ranks than any view leaves out, for views with missing members. */
const RANKED = 24;

/** The whole state of a simulation. */
export class World {
  readonly scenario: Scenario;
  now = 0;
  readonly queue = new EventQueue<SimEvent>();
  readonly nodes: SimNode[];
  readonly registry: SimNode;
  readonly members: Members<SimNode>;
  readonly blobs: readonly BlobKey[];
  /** First piece of each layer, and the number of pieces after the last. */
  readonly firstPiece: readonly number[];
  readonly layerOf: readonly number[];
  readonly counts: Counts = { events: 0, originBytes: 0, crossZoneBytes: 0, requests: 0, refused: 0 };
  readonly random: Random;
  /** 1 where a node has a piece. */
  readonly #have: Uint8Array;
  readonly #ranked: SimNode[][] = [];

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.random = random(scenario.seed);
    const { nodes, up, down, zones, slow, slowFactor } = scenario;
    const slowNodes = new Set(this.choose(nodes, slow));
    this.nodes = Array.from(
      { length: nodes },
      (_, number) =>
        new SimNode(number, `zone-${number % zones}`, {
          up: slowNodes.has(number) ? up / slowFactor : up,
          down,
          scenario,
        }),
    );
    this.registry = new SimNode(nodes, 'registry', {
      up: scenario.registry,
      down: scenario.registry,
      scenario: { ...scenario, processor: Number.POSITIVE_INFINITY },
    });
    this.members = createMembers(this.nodes);
    this.blobs = scenario.layers.map((_, layer) => blobKey(`sha256:layer-${layer}-of-${scenario.seed}`));
    const counts = scenario.layers.map((bytes) => Math.ceil(bytes / scenario.pieceBytes));
    const firsts = [0];
    for (const count of counts) firsts.push(firsts.at(-1)! + count);
    this.firstPiece = firsts;
    this.layerOf = counts.flatMap((count, layer) => Array<number>(count).fill(layer));
    this.#have = new Uint8Array(nodes * this.layerOf.length);
    if (scenario.missing > 0) {
      for (const node of this.nodes) {
        const misses = new Set(this.choose(nodes, scenario.missing));
        misses.delete(node.number);
        node.misses = misses;
      }
    }
  }

  /** Plans an event. */
  at(time: number, event: SimEvent): void {
    this.queue.add(time, event);
  }

  has(node: SimNode, piece: number): boolean {
    return node === this.registry || this.#have[node.number * this.layerOf.length + piece] === 1;
  }

  store(node: SimNode, piece: number): void {
    this.#have[node.number * this.layerOf.length + piece] = 1;
  }

  bytesOf(piece: number): number {
    const layer = this.layerOf[piece]!;
    const { layers, pieceBytes } = this.scenario;
    return Math.min(pieceBytes, layers[layer]! - (piece - this.firstPiece[layer]!) * pieceBytes);
  }

  /** One way between two nodes. */
  latencyTo(node: SimNode): number {
    return node === this.registry ? this.scenario.registryLatency : this.scenario.latency;
  }

  suspects(node: SimNode, other: SimNode): boolean {
    return node.suspects.size > 0 && (node.suspects.get(other.number) ?? 0) > this.now;
  }

  /** The owners of a piece by a node's own view. */
  ownersFor(node: SimNode, piece: number): readonly SimNode[] {
    const layer = this.layerOf[piece]!;
    const { misses } = node;
    let ranked = this.#ranked[piece];
    if (ranked === undefined) {
      ranked = owners(
        this.members,
        this.blobs[layer]!,
        piece - this.firstPiece[layer]!,
        this.scenario.missing > 0 ? RANKED : 3,
      );
      this.#ranked[piece] = ranked;
    }
    // Leaving members out moves the others up and changes nothing else, which a property test of the topology asserts.
    return misses === undefined ? ranked : ranked.filter((owner) => !misses.has(owner.number)).slice(0, 3);
  }

  /** A random share of the numbers below `count`. */
  choose(count: number, share: number): number[] {
    const wanted = Math.floor(count * share);
    const numbers = Array.from({ length: count }, (_, number) => number);
    for (let at = 0; at < wanted; at++) {
      const other = at + Math.floor(this.random() * (count - at));
      [numbers[at], numbers[other]] = [numbers[other]!, numbers[at]!];
    }
    return numbers.slice(0, wanted);
  }
}

/** Gives `amount` to a server at `now`; returns when it is done. */
export function serve(to: Server, now: number, amount: number): number {
  to.free = Math.max(to.free, now) + amount / to.rate;
  return to.free;
}

function server(rate: number): Server {
  return { rate, free: 0 };
}
