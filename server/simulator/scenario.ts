/** A scenario of the simulator: the nodes, the image, the links, and the faults. */
import { PIECE_BYTES } from '../../formats/piece-list/piece-list.ts';
import { ROOTS } from '../agent/peers/topology.ts';

/** The container runtime of each node: rates of its disk and of unpacking. */
export interface ClientModel {
  /** Bytes a second that the disk takes. */
  readonly disk: number;
  /** Compressed bytes a second that unpacking takes in; layers are unpacked one after another. */
  readonly gunzip: number;
  /** Unpacked bytes for a compressed one. */
  readonly ratio: number;
  /** Bytes that the kernel takes before a writer waits for the disk. */
  readonly dirty: number;
}

/** Sizes are bytes, rates bytes a second, times seconds, shares 0 to 1. */
export interface Scenario {
  readonly label: string;
  readonly nodes: number;
  /** Bytes of each layer. */
  readonly layers: readonly number[];
  readonly up: number;
  readonly down: number;
  /** Uplink of the registry, shared by all. */
  readonly registry: number;
  /** From one node to another, one way; to the registry. */
  readonly latency: number;
  readonly registryLatency: number;
  readonly zones: number;
  /** Nodes that pull; the others are members only. */
  readonly pullers: number;
  /** Pulls start at random within this time. */
  readonly stagger: number;
  /** Share of the nodes that dies, and when. */
  readonly killed: number;
  readonly killedAt: number;
  /** Share of the members that each node does not know, chosen for each node by itself. */
  readonly missing: number;
  /** Share of the nodes whose uplink is slower, by which factor. */
  readonly slow: number;
  readonly slowFactor: number;
  /** Bytes a second that one agent's processor moves: in, out, to the client, each for itself; and hashes. */
  readonly processor: number;
  readonly hashing: number;
  readonly client: ClientModel | undefined;
  readonly pieceBytes: number;
  readonly seed: number;
}

/** The agent's own numbers, as the protocol has them. */
export const AGENT = {
  /** Pieces read ahead in one stream. */
  readAhead: 32,
  /** Pieces on the way to one node. */
  inFlight: 64,
  /** Uploads at once; more wait in a queue. */
  slots: 64,
  /** Backlog of the uplink above which a node that is no owner refuses. */
  busy: 0.05,
  /** Layers that a container runtime asks for at once. */
  parallelLayers: 3,
  /** Joins are collected for so long. */
  joinBatch: 0.03,
  /** The swarm is asked for again after this time, and twice as long each time after, up to the longest. */
  refresh: 0.1,
  longestRefresh: 2,
  /** Deadlines: of connecting, and of a transfer from which nothing comes. */
  connect: 0.2,
  silence: 1,
  /** A peer that did not answer is left out for so long. */
  suspicion: 30,
} as const;

const MEBIBYTE = 1024 * 1024;

/** A scenario with the defaults for what `changes` leaves out. */
export function scenario(changes: Partial<Scenario> & Pick<Scenario, 'nodes'>): Scenario {
  return {
    label: `${changes.nodes} nodes`,
    layers: layersOf('3x512')!,
    up: rateOf('1500mbit')!,
    down: rateOf('10gbit')!,
    registry: rateOf('10gbit')!,
    latency: 0.00015,
    registryLatency: 0.0075,
    zones: 1,
    pullers: changes.nodes,
    stagger: 0.01,
    killed: 0,
    killedAt: 5,
    missing: 0,
    slow: 0,
    slowFactor: 5,
    processor: Number.POSITIVE_INFINITY,
    hashing: Number.POSITIVE_INFINITY,
    client: undefined,
    pieceBytes: PIECE_BYTES,
    seed: 1,
    ...changes,
  };
}

/** Bytes of the layers of `COUNTxMEBIBYTES`; undefined for any other text. */
export function layersOf(text: string): number[] | undefined {
  const [, count, size] = /^(\d{1,4})x(\d+(?:\.\d+)?)$/.exec(text) ?? [];
  if (count === undefined || size === undefined) return undefined;
  const layers = Array<number>(Number(count)).fill(Math.round(Number(size) * MEBIBYTE));
  return layers.length > 0 && layers[0]! > 0 ? layers : undefined;
}

/** Bytes a second of `1500mbit` or `10gbit`; undefined for any other text. */
export function rateOf(text: string): number | undefined {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)([mg])bit$/.exec(text) ?? [];
  if (amount === undefined || Number(amount) === 0) return undefined;
  return (Number(amount) * (unit === 'g' ? 1e9 : 1e6)) / 8;
}

/** Bytes of the whole image. */
export function imageBytes({ layers }: Scenario): number {
  return layers.reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * Seconds below which no way of sharing brings the image to every node while the registry sends it once: each node takes the
 * whole image in, all other copies leave through the uplinks of the nodes that pull (owners that do not pull may serve
 * their tree's first ranks), and an agent's processor moves each byte in, out and to the client.
 */
export function networkBound(of: Scenario): number {
  const bytes = imageBytes(of);
  const uplinks = of.pullers * of.up * (1 - of.slow + of.slow / of.slowFactor);
  const fromOutside = 1 + (of.pullers < of.nodes ? ROOTS : 0);
  return Math.max(
    bytes / of.registry,
    bytes / of.down,
    ((of.pullers - fromOutside) * bytes) / uplinks,
    (3 * bytes) / of.processor,
    bytes / of.hashing,
  );
}
