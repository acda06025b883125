/** Chooses owners and trackers by rendezvous hashing: every node that knows the same members makes the same choice. */
import { combine, combineAll, type Hash64, type HashColumns, hashColumns, hashParts, hashText } from './hash.ts';

/** Owners of a piece. */
export const OWNERS = 3;
/** Trackers of a blob. */
export const TRACKERS = 2;

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

/** The blobs of late: each of their pieces asks for the key. */
const RECENT = new Map<string, BlobKey>();
const MOST_RECENT = 1000;

/** The hashes of a blob. */
export function blobKey(digest: string): BlobKey {
  const known = RECENT.get(digest);
  if (known !== undefined) return known;
  const key = {
    digest,
    hash: hashText(digest),
    ownerKey: hashParts('o', digest),
    trackerKey: hashParts('t', digest),
  };
  if (RECENT.size >= MOST_RECENT) RECENT.delete(RECENT.keys().next().value!);
  RECENT.set(digest, key);
  return key;
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

/** Whether a node is one of the members. */
export function hasMember({ peers }: Members, id: string): boolean {
  let low = 0;
  let high = peers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (peers[middle]!.id < id) low = middle + 1;
    else high = middle;
  }
  return peers[low]?.id === id;
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
