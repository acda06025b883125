import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hashParts } from './hash.ts';
import {
  type BlobKey,
  blobKey,
  createMembers,
  createSwarm,
  nearestHolders,
  nextAttempt,
  OWNERS,
  ownerSources,
  owners,
  type Peer,
  parentRank,
  type Refusal,
  ROOTS,
  rankOf,
  rootsOf,
  sources,
  TREES,
  trackers,
  treeOf,
} from './topology.ts';

const BLOB = blobKey(`sha256:${'ab'.repeat(32)}`);

function nodes(count: number, zones = 1): Peer[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:65002`,
    zone: `zone-${index % zones}`,
  }));
}

const big = ({ hi, lo }: { hi: number; lo: number }): bigint => (BigInt(hi) << 32n) | BigInt(lo);

/** Everything one node decides from: which members and swarm members it knows, and whom it suspects. */
interface View {
  readonly self: Peer;
  readonly members: readonly Peer[];
  readonly swarm: readonly Peer[];
  readonly suspects: ReadonlySet<string>;
}

/** 2 to 40 nodes in up to 4 zones, and for each a view of its own: members that it misses, joins it has not seen, suspicions. */
const differingViews = fc
  .record({ count: fc.integer({ min: 2, max: 40 }), zones: fc.integer({ min: 1, max: 4 }) })
  .chain(({ count, zones }) => {
    const all = nodes(count, zones);
    const some = fc.subarray(all);
    return fc.tuple(
      ...all.map((self) =>
        fc.record({ missing: some, absent: some, suspected: some }).map(
          ({ missing, absent, suspected }): View => ({
            self,
            members: all.filter((peer) => peer === self || !missing.includes(peer)),
            swarm: all.filter((peer) => peer === self || !absent.includes(peer)),
            suspects: new Set(suspected.map(({ id }) => id)),
          }),
        ),
      ),
    );
  });

function sourcesIn({ self, members, swarm, suspects }: View, blob: BlobKey, piece: number) {
  const view = {
    self,
    owners: owners(createMembers(members), blob, piece),
    swarm: createSwarm(swarm),
    suspected: ({ id }: Peer) => suspects.has(id),
  };
  return { asMember: sources(view, blob, piece), asOwner: ownerSources(view) };
}

describe('who waits for whom', () => {
  it('never goes in a circle, whatever each node knows', () => {
    fc.assert(
      fc.property(differingViews, fc.nat({ max: 200 }), (views, piece) => {
        // A node may wait in two roles: as a member of the swarm and as an owner that another one asked.
        const waits = new Map<string, string[]>();
        for (const view of views) {
          const { asMember, asOwner } = sourcesIn(view, BLOB, piece);
          waits.set(
            `tree ${view.self.id}`,
            asMember.map(({ role, peer }) => `${role} ${peer.id}`),
          );
          waits.set(
            `owner ${view.self.id}`,
            (asOwner ?? []).map(({ id }) => `owner ${id}`),
          );
        }
        expect(circleIn(waits)).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });

  it('never asks itself, nobody twice in one role, and no suspect', () => {
    fc.assert(
      fc.property(differingViews, fc.nat({ max: 200 }), (views, piece) => {
        for (const view of views) {
          const { asMember } = sourcesIn(view, BLOB, piece);
          const asked = asMember.map(({ role, peer }) => `${role} ${peer.id}`);
          expect(new Set(asked).size).toBe(asked.length);
          for (const { peer } of asMember) {
            expect(peer.id).not.toBe(view.self.id);
            expect(view.suspects.has(peer.id)).toBe(false);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('stays in the zone; the first of a foreign zone asks the owner', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 200 }), fc.nat({ max: 500 }), (count, piece) => {
        const all = nodes(count, 3);
        const ranked = owners(createMembers(all), BLOB, piece);
        const swarm = createSwarm(all);
        const crossing = all.filter((self) => {
          const found = sources({ self, owners: ranked, swarm }, BLOB, piece);
          for (const { peer, role } of found) if (role === 'tree') expect(peer.zone).toBe(self.zone);
          return found.length > 0 && found[0]!.peer.zone !== self.zone;
        });
        const foreign = new Set(all.map(({ zone }) => zone).filter((zone) => zone !== ranked[0]!.zone));
        expect(crossing).toHaveLength(foreign.size);
      }),
    );
  });

  it('the best owner that answers asks the origin, and the others go to it', () => {
    const all = nodes(50);
    const ranked = owners(createMembers(all), BLOB, 7);
    const swarm = createSwarm(all);
    const dead = new Set([ranked[0]!.id]);
    const suspected = ({ id }: Peer): boolean => dead.has(id);
    expect(sources({ self: ranked[0]!, owners: ranked, swarm }, BLOB, 7)).toEqual([]);
    expect(sources({ self: ranked[1]!, owners: ranked, swarm, suspected }, BLOB, 7)).toEqual([]);
    const other = all.find((peer) => !ranked.includes(peer))!;
    const asked = sources({ self: other, owners: ranked, swarm, suspected }, BLOB, 7);
    expect(asked.filter(({ role }) => role === 'owner').map(({ peer }) => peer)).toEqual(ranked.slice(1));
    expect(ownerSources({ self: ranked[2]!, owners: ranked })).toEqual(ranked.slice(0, 2));
    expect(ownerSources({ self: ranked[2]!, owners: ranked, suspected })).toEqual([ranked[1]]);
    expect(ownerSources({ self: other, owners: ranked })).toBeUndefined();
  });

  it('asks parent, uncle, grandparent, and no backup owner as an uncle', () => {
    const all = nodes(1000);
    const swarm = createSwarm(all);
    const members = createMembers(all);
    for (let piece = 0; piece < 200; piece++) {
      const ranked = owners(members, BLOB, piece);
      const tree = treeOf(BLOB, piece);
      const byRank = new Map(all.map((peer) => [rankOf(swarm, tree, peer), peer]));
      const self = byRank.get(999)!;
      if (ranked[0] === self) continue;
      const ranks: number[] = [];
      for (let rank = parentRank(999, ROOTS); rank !== undefined; rank = parentRank(rank, ROOTS)) ranks.push(rank);
      const uncle = byRank.get(ranks[0]! - 1)!;
      const parents = ranks.map((rank) => byRank.get(rank)!);
      const expected = [parents[0]!, ...(ranked.includes(uncle) ? [] : [uncle]), ...parents.slice(1)];
      expect(sources({ self, owners: ranked, swarm }, BLOB, piece)).toEqual([
        ...expected.filter((peer) => peer !== ranked[0]).map((peer) => ({ peer, role: 'tree' })),
        ...ranked.slice(0, ranked.includes(self) ? ranked.indexOf(self) : OWNERS).map((peer) => ({
          peer,
          role: 'owner',
        })),
      ]);
    }
  });
});

describe('trees', () => {
  it.each([1, 8, 9, 40, 1000, 10_000, 100_000])('are logarithmic in depth: %d nodes', (count) => {
    for (const roots of [ROOTS, 1]) {
      let depth = 0;
      for (let rank = parentRank(count - 1, roots); rank !== undefined; rank = parentRank(rank, roots)) depth++;
      expect(depth).toBeLessThanOrEqual(Math.ceil(Math.log(count + 1) / Math.log(4)));
    }
  });

  it('give each node about as much to upload as to download', () => {
    const all = nodes(1000);
    const swarm = createSwarm(all);
    const children = new Map<number, number>();
    for (let piece = 0; piece < TREES; piece++) {
      const tree = treeOf(BLOB, piece);
      const byRank = all.toSorted((a, b) => rankOf(swarm, tree, a) - rankOf(swarm, tree, b));
      for (let rank = ROOTS; rank < all.length; rank++) {
        const parent = all.indexOf(byRank[parentRank(rank, ROOTS)!]!);
        children.set(parent, (children.get(parent) ?? 0) + 1);
      }
    }
    expect(Math.max(...children.values())).toBeLessThanOrEqual(TREES * 1.4);
  });

  it('order by the hash, as the definition with bigint does', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.nat({ max: 1000 }),
        fc.nat({ max: 63 }),
        (count, piece, stranger) => {
          const all = nodes(count);
          const hash = big(hashParts(BLOB.digest));
          const number = Number((hash + 39n * BigInt(piece)) % 64n);
          const ring = number % 8;
          const start = BigInt.asUintN(64, (BigInt(Math.floor(number / 8)) << 61n) + big(hashParts('s', ring)));
          const tree = treeOf(BLOB, piece);
          expect({ ...tree, start: big(tree.start) }).toEqual({ number, ring, start });
          const offset = ({ id }: Peer): bigint => BigInt.asUintN(64, big(hashParts(ring, id)) - start);
          const swarm = createSwarm(all);
          // A node that has not joined has the rank that it would have.
          for (const self of [...all, { id: `192.168.0.${stranger}:65002`, zone: 'zone-0' }]) {
            expect(rankOf(swarm, tree, self)).toBe(all.filter((peer) => offset(peer) < offset(self)).length);
          }
        },
      ),
    );
  });

  it('do not depend on the order of the members, nor on duplicates', () => {
    const all = nodes(30, 2);
    const shuffled = [...all.slice(11), ...all.slice(0, 20)];
    for (let piece = 0; piece < 70; piece++) {
      expect(owners(createMembers(shuffled), BLOB, piece)).toEqual(owners(createMembers(all), BLOB, piece));
      for (const self of all) {
        const tree = treeOf(BLOB, piece);
        expect(rankOf(createSwarm(shuffled), tree, self)).toBe(rankOf(createSwarm(all), tree, self));
      }
    }
  });

  it('a swarm without a member in the zone ranks everyone first', () => {
    const self: Peer = { id: '10.9.9.9:65002', zone: 'elsewhere' };
    const all = nodes(20);
    const ranked = owners(createMembers(all), BLOB, 0);
    expect(rankOf(createSwarm(all), treeOf(BLOB, 0), self)).toBe(0);
    expect(sources({ self, owners: ranked, swarm: createSwarm(all) }, BLOB, 0)[0]).toEqual({
      peer: ranked[0],
      role: 'owner',
    });
  });
});

describe('owners and trackers', () => {
  const PIECES = 1000;

  it('are the members with the highest scores, as the definition with bigint says', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.nat({ max: 5000 }), (count, piece) => {
        const all = nodes(count);
        const byScore = (score: (id: string) => bigint): Peer[] =>
          all.toSorted((a, b) => (score(a.id) > score(b.id) ? -1 : 1));
        const members = createMembers(all);
        expect(owners(members, BLOB, piece)).toEqual(
          byScore((id) => big(hashParts('o', BLOB.digest, piece, id))).slice(0, 3),
        );
        expect(trackers(members, BLOB)).toEqual(byScore((id) => big(hashParts('t', BLOB.digest, id))).slice(0, 2));
      }),
    );
  });

  it.each([3, 20, 200])(
    'only a fraction changes when one of %d members leaves, and each change involves it',
    (count) => {
      const all = nodes(count);
      const before = createMembers(all);
      const leaving = all[Math.floor(count / 2)]!;
      const after = createMembers(all.filter((peer) => peer !== leaving));
      let changed = 0;
      for (let piece = 0; piece < PIECES; piece++) {
        const [old, now] = [owners(before, BLOB, piece), owners(after, BLOB, piece)];
        // The others keep their order: what is new is at the end. Joining is the same, read backwards.
        const kept = old.filter((peer) => peer !== leaving);
        expect(now.slice(0, kept.length)).toEqual(kept);
        if (old[0] !== now[0]) changed++;
      }
      expect(changed).toBeGreaterThan(0);
      expect(changed / PIECES).toBeLessThan(2 / count);
    },
  );

  it('spread evenly over the members', () => {
    const all = nodes(20);
    const members = createMembers(all);
    const first = new Map<string, number>();
    for (let piece = 0; piece < PIECES; piece++) {
      const [owner] = owners(members, BLOB, piece);
      first.set(owner!.id, (first.get(owner!.id) ?? 0) + 1);
    }
    expect(first.size).toBe(20);
    expect(Math.max(...first.values())).toBeLessThan((PIECES / 20) * 1.6);
  });

  it.each([0, 1, 2])('there are no more than members: %d', (count) => {
    expect(owners(createMembers(nodes(count)), BLOB, 0)).toHaveLength(count);
    expect(trackers(createMembers(nodes(count)), BLOB)).toHaveLength(count);
  });

  it('holders of the own zone come first', () => {
    const holders = createMembers(nodes(9, 3));
    for (let piece = 0; piece < 30; piece++) {
      const four = nearestHolders(holders, 'zone-1', { blob: BLOB, piece, count: 4 });
      expect(four.map(({ zone }) => zone === 'zone-1')).toEqual([true, true, true, false]);
      expect(nearestHolders(holders, 'zone-1', { blob: BLOB, piece })).toEqual(four.slice(0, 2));
    }
    expect(nearestHolders(createMembers([]), 'zone-1', { blob: BLOB, piece: 0 })).toEqual([]);
  });
});

it('roots: eight in the zone of the owner, one in any other', () => {
  expect([rootsOf('a', 'a'), rootsOf('a', 'b')]).toEqual([8, 1]);
});

/** Agents of all versions share one network, so these never change. */
it('frozen: owners, trackers, trees and sources of twelve nodes', () => {
  const all = nodes(12);
  const members = createMembers(all);
  const last = (peers: readonly Peer[]): string => peers.map(({ id }) => /\.(\d+):/.exec(id)![1]).join(' ');
  const swarm = createSwarm(all);
  const rows = [0, 1, 63, 64, 5000].map((piece) => {
    const ranked = owners(members, BLOB, piece);
    const tree = treeOf(BLOB, piece);
    const order = all.toSorted((a, b) => rankOf(swarm, tree, a) - rankOf(swarm, tree, b));
    const asked = sources({ self: order[11]!, owners: ranked, swarm }, BLOB, piece);
    return `${piece}: tree ${tree.number}, owners ${last(ranked)}, order ${last(order)}, asks ${last(asked.map(({ peer }) => peer))}`;
  });
  expect([`trackers ${last(trackers(members, BLOB))}`, ...rows]).toMatchInlineSnapshot(`
    [
      "trackers 0 10",
      "0: tree 50, owners 0 8 2, order 3 9 10 2 7 4 5 6 0 1 8 11, asks 3 0 8 2",
      "1: tree 25, owners 2 8 4, order 11 9 8 3 5 2 1 4 6 10 0 7, asks 11 2 8 4",
      "63: tree 11, owners 0 1 9, order 9 8 10 7 4 6 0 11 2 3 5 1, asks 9 0",
      "64: tree 50, owners 7 6 8, order 3 9 10 2 7 4 5 6 0 1 8 11, asks 3 7 6 8",
      "5000: tree 42, owners 6 0 5, order 8 11 3 9 10 2 7 4 5 6 0 1, asks 8 6 0 5",
    ]
  `);
});

/** A circle in a directed graph, or undefined. */
function circleIn(edges: ReadonlyMap<string, readonly string[]>): string | undefined {
  const state = new Map<string, 'open' | 'done'>();
  const visit = (node: string): string | undefined => {
    if (state.get(node) === 'done') return undefined;
    if (state.get(node) === 'open') return node;
    state.set(node, 'open');
    for (const next of edges.get(node) ?? []) {
      const found = visit(next);
      if (found !== undefined) return `${node} -> ${found}`;
    }
    state.set(node, 'done');
    return undefined;
  };
  for (const node of edges.keys()) {
    const found = visit(node);
    if (found !== undefined) return found;
  }
  return undefined;
}

describe('nextAttempt', () => {
  const [a, b, c, d, e] = nodes(5) as [Peer, Peer, Peer, Peer, Peer];
  const list = [
    { peer: a, role: 'tree' },
    { peer: b, role: 'tree' },
    { peer: c, role: 'tree' },
    { peer: d, role: 'owner' },
    { peer: e, role: 'owner' },
  ] as const;

  const busy = (busyFor: number): Refusal => ({ busyFor });

  it.each<[string, Refusal[], expected: [Peer, insists: boolean] | undefined]>([
    ['the one of two that is busy for the shorter time', [busy(80), busy(60)], [b, true]],
    ['the parent first', [], [a, false]],
    ['one that is absent: the next', ['absent'], [b, false]],
    ['one that is busy: the next', [busy(60)], [b, false]],
    ['two that are busy: the first again, insisting', [busy(60), busy(60)], [a, true]],
    ['two busy ones among others', ['absent', busy(60), busy(60)], [b, true]],
    ['one busy, and the tree has no more', ['absent', 'absent', busy(60)], [c, true]],
    ['one busy, the rest of the tree absent', [busy(60), 'absent', 'silent'], [a, true]],
    ['after insisting, the rest', [busy(60), busy(60), 'silent'], [c, false]],
    ['then the owners', [busy(60), busy(60), 'silent', 'absent'], [d, false]],
    ['the last owner', [busy(60), busy(60), 'silent', 'absent', 'silent'], [e, false]],
    ['nobody: the origin', [busy(60), busy(60), 'silent', 'absent', 'silent', 'silent'], undefined],
    ['nobody, without a busy one', ['absent', 'absent', 'absent', 'silent', 'absent'], undefined],
  ])('%s', (_, refusals, expected) => {
    const next = nextAttempt(list, refusals);
    expect(next && [next.peer, next.insists]).toEqual(expected);
  });
});
