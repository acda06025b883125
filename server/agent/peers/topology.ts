/**
 * Decides which node gives a piece to which, in pure functions of a view: no clock, no I/O, no randomness. Every agent computes
 * the same answer from the same members, and answers from differing views never form a circle (docs/decisions/0009-peer-topology.md).
 *
 * - Each piece has three owners, chosen by rendezvous hashing over all members. They alone ask the origin.
 * - The nodes that want a blob now form its swarm. In one of 64 trees over the swarm's members of one zone, a node's rank
 *   gives its parent, the node to ask; the first ranks ask the owner.
 */
import type { BlobKey, Peer } from './rendezvous.ts';
import { orderOf, type Swarm, type Tree, treeOf } from './swarm.ts';

export {
  type BlobKey,
  blobKey,
  createMembers,
  hasMember,
  type Members,
  nearestHolders,
  OWNERS,
  owners,
  type Peer,
  TRACKERS,
  trackers,
} from './rendezvous.ts';
export { createSwarm, RINGS, rankOf, type Swarm, TREES, type Tree, treeOf } from './swarm.ts';

/** Ranks that ask the owner directly, in the owner's zone. */
export const ROOTS = 8;
/** Ranks that ask the owner directly in any other zone: each piece crosses into a zone once. */
export const ROOTS_ELSEWHERE = 1;
/** Children of a node in a tree. */
export const CHILDREN = 4;

/** A node to ask for a piece, and its role. */
export interface Source<P extends Peer = Peer> {
  readonly peer: P;
  /** A `tree` source passes the request on along its own tree; an `owner` goes to a better owner or to the origin. */
  readonly role: 'tree' | 'owner';
}

/**
 * The reason why a source did not give a piece: it does not have it, it did not answer, or its uplink is busy for so many
 * milliseconds.
 */
export type Refusal = 'absent' | 'silent' | { readonly busyFor: number };

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
 * their order. After two that are busy, or one where only owners remain, the one that is busy for the shorter time is asked
 * again and insists: load moves between neighbours and away from slow ones, and does not climb to the owners, who must
 * not refuse.
 */
export function nextAttempt<P extends Peer>(
  list: readonly Source<P>[],
  refusals: readonly Refusal[],
): Attempt<P> | undefined {
  let least: { readonly at: number; readonly busyFor: number } | undefined;
  let busy = 0;
  for (let asked = 1; asked <= refusals.length; asked++) {
    const refusal = refusals[asked - 1]!;
    if (typeof refusal === 'object') {
      busy++;
      if (least === undefined || refusal.busyFor < least.busyFor) least = { at: asked - 1, busyFor: refusal.busyFor };
    }
    if (least === undefined || (busy === 1 && list[asked]?.role === 'tree')) continue;
    // The insisting request shifts those that follow by one place.
    return refusals.length === asked ? { ...list[least.at]!, insists: true } : plain(list[refusals.length - 1]);
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
  const order = orderOf(swarm, tree, self.zone);
  if (order === undefined) return [];
  const found: { peer: P; uncle: boolean }[] = [];
  let rank = parentRank(order.rankOf(self), roots);
  while (rank !== undefined) {
    found.push({ peer: order.at(rank), uncle: false });
    const next = parentRank(rank, roots);
    if (found.length === 1 && rank > 0 && rank - 1 !== next) found.push({ peer: order.at(rank - 1), uncle: true });
    rank = next;
  }
  return found;
}
