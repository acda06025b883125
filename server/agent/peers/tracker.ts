/** The swarms that this node tracks: who wants a blob, and who has it whole. Soft state: it is made again by those who join. */
import type { Peer } from './topology.ts';
import type { JoinAnswer, JoinRequest } from './wire.ts';

/** Seconds for which a node counts as a member after its last word. */
export const MEMBER_TTL = 60;
/** Seconds for which a node counts as a holder after its last word. */
export const HOLDER_TTL = 600;
/** Milliseconds for which joins are gathered: nodes that start together learn of each other. */
const BATCH = 30;
/** Blobs tracked, and nodes of each: those that want it (the largest network), and those that have it. */
const MOST_SWARMS = 20_000;
const MOST_WANTING = 10_000;
const MOST_HOLDERS = 200;
/** Entries of all swarms together, some 200 bytes each: many nodes, or one of many names, could fill every swarm. */
const MOST_ENTRIES = 300_000;

interface Entry {
  readonly peer: Peer;
  until: number;
}

interface Swarm {
  readonly wanting: Map<string, Entry>;
  readonly holding: Map<string, Entry>;
}

/** See the head of the file. */
export class Tracker {
  readonly #now: () => number;
  /** Least recently used first. */
  readonly #swarms = new Map<string, Swarm>();
  #entries = 0;
  #batch: Promise<void> | undefined;

  /** `now` in milliseconds; grows steadily. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Blobs that are tracked. */
  get size(): number {
    return this.#swarms.size;
  }

  /** Entries of all of them. */
  get entries(): number {
    return this.#entries;
  }

  /** Takes in a node's word and answers with the swarm, after gathering others' for a moment. */
  async join(digest: string, request: JoinRequest): Promise<JoinAnswer> {
    this.note(digest, request);
    this.#batch ??= new Promise((resolve) => {
      setTimeout(() => {
        this.#batch = undefined;
        resolve();
      }, BATCH);
    });
    await this.#batch;
    return this.answer(digest);
  }

  /** Takes in a node's word. */
  note(digest: string, { id, zone, leaving, complete }: JoinRequest): void {
    const now = this.#now();
    this.#expire(now);
    const known = this.#swarms.get(digest);
    // Whoever leaves a swarm that is not tracked changes nothing.
    if (known === undefined && leaving === true && complete !== true) return;
    const swarm = known ?? { wanting: new Map(), holding: new Map() };
    const before = sizeOf(swarm);
    this.#swarms.delete(digest);
    this.#swarms.set(digest, swarm);
    const peer = { id, zone };
    if (leaving === true) swarm.wanting.delete(id);
    else if (complete !== true) {
      swarm.wanting.delete(id);
      swarm.wanting.set(id, { peer, until: now + MEMBER_TTL * 1000 });
      trim(swarm.wanting, MOST_WANTING);
    }
    if (complete === true) {
      // The newest word last, so that the oldest is dropped first.
      swarm.holding.delete(id);
      swarm.holding.set(id, { peer, until: now + HOLDER_TTL * 1000 });
      trim(swarm.holding, MOST_HOLDERS);
    }
    this.#entries += sizeOf(swarm) - before;
    for (const oldest of this.#swarms.keys()) {
      if (this.#swarms.size <= MOST_SWARMS && this.#entries <= MOST_ENTRIES) return;
      this.#drop(oldest);
    }
  }

  #drop(digest: string): void {
    this.#entries -= sizeOf(this.#swarms.get(digest)!);
    this.#swarms.delete(digest);
  }

  /** The swarm of a blob as known now. */
  answer(digest: string): JoinAnswer {
    const swarm = this.#swarms.get(digest);
    if (swarm === undefined) return { members: [], holders: [], ttl: MEMBER_TTL };
    const now = this.#now();
    const before = sizeOf(swarm);
    const members = listed(swarm.wanting, now);
    const holders = listed(swarm.holding, now);
    this.#entries += sizeOf(swarm) - before;
    return { members, holders, ttl: MEMBER_TTL };
  }

  /** Forgets the swarms used least recently whose nodes have all gone: a few at each word, so that none waits for it. */
  #expire(now: number): void {
    let looked = 0;
    for (const [digest, swarm] of this.#swarms) {
      if (looked++ === 4) return;
      const before = sizeOf(swarm);
      purge(swarm.wanting, now);
      purge(swarm.holding, now);
      this.#entries += sizeOf(swarm) - before;
      if (sizeOf(swarm) > 0) return;
      this.#swarms.delete(digest);
    }
  }

  /** Nodes that have a whole blob. */
  holders(digest: string): Peer[] {
    return this.answer(digest).holders.map(([id, zone]) => ({ id, zone }));
  }
}

/** Removes what has expired: the oldest words come first, so that a large swarm costs no more than a small one. */
function purge(entries: Map<string, Entry>, now: number): void {
  for (const [id, { until }] of entries) {
    if (until > now) return;
    entries.delete(id);
  }
}

function listed(entries: Map<string, Entry>, now: number): [string, string][] {
  const found: [string, string][] = [];
  for (const [id, { peer, until }] of entries) {
    if (until > now) found.push([id, peer.zone]);
    else entries.delete(id);
  }
  return found;
}

function sizeOf({ wanting, holding }: Swarm): number {
  return wanting.size + holding.size;
}

function trim<K, V>(map: Map<K, V>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
