/**
 * Decides which node gives a piece to which, in pure functions of a view: no clock, no I/O, no randomness. Every agent computes
 * the same answer from the same members, and answers from differing views never form a circle (docs/decisions/0009-peer-topology.md).
 *
 * - Each piece has three owners, chosen by rendezvous hashing over all members. They alone ask the origin.
 * - The nodes that want a blob now form its swarm. In one of 64 trees over the swarm's members of one zone, a node's rank
 *   gives its parent, the node to ask; the first ranks ask the owner.
 */
import {
  combine,
  combineAll,
  compareHashes,
  type Hash64,
  type HashColumns,
  hashColumns,
  hashParts,
  hashText,
  subtractHashes,
} from './hash.ts';

/** Bytes of a piece; the last piece of a blob is shorter. */
export const PIECE_BYTES = 2 * 1024 * 1024;
/** Owners of a piece. */
export const OWNERS = 3;
/** Trackers of a blob. */
export const TRACKERS = 2;
/** Trees over a swarm; the pieces of a blob take turns. */
export const TREES = 64;
/** Orders of a swarm; each serves the trees of {@link TREES} that share it, from as many starting points. */
export const RINGS = 8;
/** Ranks that ask the owner directly, in the owner's zone. */
export const ROOTS = 8;
/** Ranks that ask the owner directly in any other zone: each piece crosses into a zone once. */
export const ROOTS_ELSEWHERE = 1;
/** Children of a node in a tree. */
export const CHILDREN = 4;
/** Trees between the trees of one piece and the next: coprime to {@link TREES}, and far from both ends of it. */
const TREE_STEP = 39;

/** A node of the peer network. */
export interface Peer {
  /** Its advertised `ip:port`, which is its identity. */
  readonly id: string;
  /** Its zone; the empty text where zones are not used. */
  readonly zone: string;
}

/** A blob as the topology knows it: its hashes, computed once. */
export interface BlobKey {
  readonly digest: string;
  readonly hash: Hash64;
  readonly ownerKey: Hash64;
  readonly trackerKey: Hash64;
}

/** All members that a node knows of, itself among them. */
export interface Members<P extends Peer = Peer> {
  /** In order of their ids, each once. */
  readonly peers: readonly P[];
  /** Hash of each id. */
  readonly hashes: HashColumns;
  /** Room for the scores of one choice. */
  readonly scores: HashColumns;
}

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

/** A node to ask for a piece, and its role. */
export interface Source<P extends Peer = Peer> {
  readonly peer: P;
  /** A `tree` source passes the request on along its own tree; an `owner` goes to a better owner or to the origin. */
  readonly role: 'tree' | 'owner';
}

/** The reason why a source did not give a piece: its uplink has too much to do, it does not have the piece, or it did not answer. */
export type Refusal = 'busy' | 'absent' | 'silent';

/** The next request for a piece. */
export interface Attempt<P extends Peer = Peer> extends Source<P> {
  /** Not to be refused because of load: the source queues the request. */
  readonly insists: boolean;
}

/** The input of {@link sources}. */
export interface PieceView<P extends Peer = Peer> {
  readonly self: P;
  /** The piece's owners by this node's view, best first. */
  readonly owners: readonly P[];
  readonly swarm: Swarm<P>;
  /** Peers that did not answer lately; none by default. */
  readonly suspected?: (peer: P) => boolean;
}

const RING_KEYS = Array.from({ length: RINGS }, (_, ring) => hashParts(ring));
const STARTS = Array.from({ length: TREES }, (_, tree) => startOf(tree));

/** The hashes of a blob. */
export function blobKey(digest: string): BlobKey {
  return {
    digest,
    hash: hashText(digest),
    ownerKey: hashParts('o', digest),
    trackerKey: hashParts('t', digest),
  };
}

/** A view of the members: sorted, each id once (the first of several wins). */
export function createMembers<P extends Peer>(peers: Iterable<P>): Members<P> {
  const byId = new Map<string, P>();
  for (const peer of peers) if (!byId.has(peer.id)) byId.set(peer.id, peer);
  const sorted = [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const hashes = hashColumns(sorted.length);
  sorted.forEach(({ id }, index) => {
    const { hi, lo } = hashText(id);
    hashes.hi[index] = hi;
    hashes.lo[index] = lo;
  });
  return { peers: sorted, hashes, scores: hashColumns(sorted.length) };
}

/** The owners of a piece, best first: the members with the highest `h("o", digest, piece, id)`. */
export function owners<P extends Peer>(members: Members<P>, blob: BlobKey, piece: number, count = OWNERS): P[] {
  return highest(members, combine(blob.ownerKey, { hi: 0, lo: piece }), count);
}

/** The trackers of a blob, best first: the members with the highest `h("t", digest, id)`. */
export function trackers<P extends Peer>(members: Members<P>, blob: BlobKey, count = TRACKERS): P[] {
  return highest(members, blob.trackerKey, count);
}

/** Up to `count` nodes that hold a whole blob: those of `zone` first, the others after them, in an order of each piece's own. */
export function nearestHolders<P extends Peer>(
  holders: Members<P>,
  zone: string,
  { blob, piece, count = 2 }: { readonly blob: BlobKey; readonly piece: number; readonly count?: number },
): P[] {
  const ranked = owners(holders, blob, piece, holders.peers.length);
  const near = ranked.filter((peer) => peer.zone === zone);
  return [...near, ...ranked.filter((peer) => peer.zone !== zone)].slice(0, count);
}

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

/** The rank of the parent of rank `rank`; undefined for the first `roots` ranks, which ask the owner. */
export function parentRank(rank: number, roots: number): number | undefined {
  return rank < roots ? undefined : Math.floor((rank - roots) / CHILDREN);
}

/** Ranks of `zone` that ask an owner in `ownerZone` directly. */
export function rootsOf(zone: string, ownerZone: string): number {
  return zone === ownerZone ? ROOTS : ROOTS_ELSEWHERE;
}

/**
 * Lists the nodes to ask for a piece: its parent, its parent's left neighbour (the uncle), its grandparent and so
 * on to the root, then the owners. After the last, and at once where the list is empty, the node asks the origin itself.
 * Suspected peers are left out; the best owner that is not suspected counts as the owner.
 */
export function sources<P extends Peer>(view: PieceView<P>, blob: BlobKey, piece: number): Source<P>[] {
  const { self, suspected = () => false } = view;
  const alive = view.owners.filter((owner) => owner.id === self.id || !suspected(owner));
  const [owner] = alive;
  if (owner === undefined || owner.id === self.id) return [];
  const found: Source<P>[] = [];
  for (const { peer, uncle } of ancestors(view, treeOf(blob, piece), rootsOf(self.zone, owner.zone))) {
    // The owner is asked as such. An uncle that is a backup owner would carry the load of two roles.
    const passedOver = uncle ? view.owners.some(({ id }) => id === peer.id) : peer.id === owner.id;
    if (!passedOver && !suspected(peer)) found.push({ peer, role: 'tree' });
  }
  for (const peer of alive) {
    // A node asks only owners that rank better than itself: among owners, too, requests run one way.
    if (peer.id === self.id) break;
    found.push({ peer, role: 'owner' });
  }
  return found;
}

/**
 * The next request after `refusals`, one for each request so far; undefined when the origin is next. Sources are asked in
 * their order. After two that are busy, or one where only owners remain, the first of them is asked again and insists:
 * load moves between neighbours, and does not climb to the owners, who must not refuse.
 */
export function nextAttempt<P extends Peer>(
  list: readonly Source<P>[],
  refusals: readonly Refusal[],
): Attempt<P> | undefined {
  let first = -1;
  let busy = 0;
  for (let asked = 1; asked <= refusals.length; asked++) {
    if (refusals[asked - 1] === 'busy') {
      busy++;
      if (first < 0) first = asked - 1;
    }
    if (first < 0 || (busy === 1 && list[asked]?.role === 'tree')) continue;
    // The insisting request shifts those that follow by one place.
    return refusals.length === asked ? { ...list[first]!, insists: true } : plain(list[refusals.length - 1]);
  }
  return plain(list[refusals.length]);
}

function plain<P extends Peer>(source: Source<P> | undefined): Attempt<P> | undefined {
  return source === undefined ? undefined : { ...source, insists: false };
}

/**
 * Lists the nodes that an owner asks for a piece it lacks: the owners that rank better, best first. After the last it asks the origin. Undefined
 * when `self` is no owner by its own view.
 */
export function ownerSources<P extends Peer>({
  self,
  owners: ranked,
  suspected = () => false,
}: Pick<PieceView<P>, 'self' | 'owners' | 'suspected'>): P[] | undefined {
  const own = ranked.findIndex(({ id }) => id === self.id);
  return own < 0 ? undefined : ranked.slice(0, own).filter((peer) => !suspected(peer));
}

/** The nodes above `self` in a tree, nearest first, each parent followed by the uncle of the first generation. */
function ancestors<P extends Peer>(
  { self, swarm }: PieceView<P>,
  tree: Tree,
  roots: number,
): { peer: P; uncle: boolean }[] {
  const ring = ringOf(swarm, self.zone, tree.ring);
  if (ring === undefined) return [];
  const first = startIndex(ring, tree.start);
  const at = (rank: number): P => ring.peers[(first + rank) % ring.peers.length]!;
  const found: { peer: P; uncle: boolean }[] = [];
  let rank = parentRank(rankOn(ring, tree, self), roots);
  while (rank !== undefined) {
    found.push({ peer: at(rank), uncle: false });
    const next = parentRank(rank, roots);
    if (found.length === 1 && rank > 0 && rank - 1 !== next) found.push({ peer: at(rank - 1), uncle: true });
    rank = next;
  }
  return found;
}

function startOf(tree: number): Hash64 {
  const { hi, lo } = hashParts('s', tree % RINGS);
  // ⌊tree/8⌋·2⁶⁴/8 touches the upper half alone.
  return { hi: (hi + Math.floor(tree / RINGS) * 2 ** 29) >>> 0, lo };
}

/** The `count` members with the highest `combine(key, hash of id)`, highest first; equal scores in order of their ids. */
function highest<P extends Peer>({ peers, hashes, scores }: Members<P>, key: Hash64, count: number): P[] {
  combineAll(key, hashes, scores);
  const above = (left: number, right: number): boolean => {
    const difference = scores.hi[left]! - scores.hi[right]!;
    return difference === 0 ? scores.lo[left]! > scores.lo[right]! : difference > 0;
  };
  const best: number[] = [];
  for (let index = 0; index < peers.length; index++) {
    if (best.length === count && !above(index, best[count - 1]!)) continue;
    if (best.length === count) best.pop();
    let at = best.length;
    while (at > 0 && above(index, best[at - 1]!)) at--;
    best.splice(at, 0, index);
  }
  return best.map((index) => peers[index]!);
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
