/** Orders the nodes that want a blob: 64 trees over the members of one zone, as ranks on 8 rings. */
import { combine, combineAll, compareHashes, type Hash64, hashParts, hashText, subtractHashes } from './hash.ts';
import { type BlobKey, createMembers, type Members, type Peer } from './rendezvous.ts';

/** Trees over a swarm; the pieces of a blob take turns. */
export const TREES = 64;
/** Orders of a swarm; each serves the trees of {@link TREES} that share it, from as many starting points. */
export const RINGS = 8;
/** Trees between the trees of one piece and the next: coprime to {@link TREES}, and far from both ends of it. */
const TREE_STEP = 39;

/** The nodes that want a blob, as one node knows them. */
export interface Swarm<P extends Peer = Peer> {
  readonly zones: ReadonlyMap<string, SwarmZone<P>>;
}

interface SwarmZone<P extends Peer> {
  readonly members: Members<P>;
  /** Built when first used. */
  readonly rings: (Ring<P> | undefined)[];
}

/** The members of a zone in the order of one ring. */
interface Ring<P extends Peer> {
  readonly peers: readonly P[];
  readonly positions: readonly Hash64[];
  readonly indexes: ReadonlyMap<string, number>;
}

/** The tree of a piece. */
export interface Tree {
  /** 0 to {@link TREES} − 1. */
  readonly number: number;
  /** 0 to {@link RINGS} − 1. */
  readonly ring: number;
  /** The position on the ring that has rank 0. */
  readonly start: Hash64;
}

/** The order of a zone's nodes in one tree. */
export interface TreeOrder<P extends Peer> {
  /** The rank of a node, which need not be in the swarm. */
  rankOf(self: Peer): number;
  /** The node of a rank. */
  at(rank: number): P;
}

const RING_KEYS = Array.from({ length: RINGS }, (_, ring) => hashParts(ring));
const STARTS = Array.from({ length: TREES }, (_, tree) => startOf(tree));

/** A swarm of `peers`: each id once. */
export function createSwarm<P extends Peer>(peers: Iterable<P>): Swarm<P> {
  const byZone = new Map<string, P[]>();
  for (const peer of peers) {
    const list = byZone.get(peer.zone);
    if (list === undefined) byZone.set(peer.zone, [peer]);
    else list.push(peer);
  }
  const zones = new Map<string, SwarmZone<P>>();
  for (const [zone, list] of byZone) zones.set(zone, { members: createMembers(list), rings: [] });
  return { zones };
}

/** The tree of a piece: `t = (h(digest) + 39·piece) mod 64`, ring `t mod 8`, start `⌊t/8⌋·2⁶⁴/8 + h("s", ring)`. */
export function treeOf(blob: BlobKey, piece: number): Tree {
  const number = ((blob.hash.lo % TREES) + TREE_STEP * (piece % TREES)) % TREES;
  return { number, ring: number % RINGS, start: STARTS[number]! };
}

/**
 * The rank of a node among the swarm's members of its zone: how many of them come before it, in order of
 * `(h(ring, id) − start) mod 2⁶⁴`. The node itself need not be a member.
 */
export function rankOf<P extends Peer>(swarm: Swarm<P>, tree: Tree, self: Peer): number {
  const ring = ringOf(swarm, self.zone, tree.ring);
  return ring === undefined ? 0 : rankOn(ring, tree, self);
}

/** A ring with its starting point for one tree. */
export function orderOf<P extends Peer>(swarm: Swarm<P>, tree: Tree, zone: string): TreeOrder<P> | undefined {
  const ring = ringOf(swarm, zone, tree.ring);
  if (ring === undefined) return undefined;
  const first = startIndex(ring, tree.start);
  return {
    rankOf: (self) => rankOn(ring, tree, self),
    at: (rank) => ring.peers[(first + rank) % ring.peers.length]!,
  };
}

function startOf(tree: number): Hash64 {
  const { hi, lo } = hashParts('s', tree % RINGS);
  // ⌊tree/8⌋·2⁶⁴/8 touches the upper half alone.
  return { hi: (hi + Math.floor(tree / RINGS) * 2 ** 29) >>> 0, lo };
}

function ringOf<P extends Peer>(swarm: Swarm<P>, zone: string, number: number): Ring<P> | undefined {
  const members = swarm.zones.get(zone);
  if (members === undefined) return undefined;
  let ring = members.rings[number];
  if (ring === undefined) {
    ring = createRing(members.members, number);
    members.rings[number] = ring;
  }
  return ring;
}

function createRing<P extends Peer>({ peers, hashes, scores }: Members<P>, number: number): Ring<P> {
  combineAll(RING_KEYS[number]!, hashes, scores);
  const { hi, lo } = scores;
  // Indexes follow the ids, so that equal positions stay in order of them.
  const order = Array.from(peers, (_, index) => index).sort((a, b) => hi[a]! - hi[b]! || lo[a]! - lo[b]! || a - b);
  return {
    peers: order.map((index) => peers[index]!),
    positions: order.map((index) => ({ hi: hi[index]!, lo: lo[index]! })),
    indexes: new Map(order.map((index, at) => [peers[index]!.id, at])),
  };
}

function rankOn<P extends Peer>(ring: Ring<P>, { ring: number, start }: Tree, self: Peer): number {
  const first = startIndex(ring, start);
  const length = ring.peers.length;
  const known = ring.indexes.get(self.id);
  if (known !== undefined) return (known - first + length) % length;
  const offset = subtractHashes(combine(RING_KEYS[number]!, hashText(self.id)), start);
  let before = 0;
  let after = length;
  while (before < after) {
    const middle = (before + after) >>> 1;
    const other = subtractHashes(ring.positions[(first + middle) % length]!, start);
    if (compareHashes(other, offset) < 0) before = middle + 1;
    else after = middle;
  }
  return before;
}

/** The index of the first peer at or after a position; the first of all where no peer follows. */
function startIndex<P extends Peer>({ positions }: Ring<P>, start: Hash64): number {
  let before = 0;
  let after = positions.length;
  while (before < after) {
    const middle = (before + after) >>> 1;
    if (compareHashes(positions[middle]!, start) < 0) before = middle + 1;
    else after = middle;
  }
  return before === positions.length ? 0 : before;
}
