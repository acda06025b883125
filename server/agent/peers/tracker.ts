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
  #batch: Promise<void> | undefined;

  /** `now` in milliseconds; grows steadily. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Blobs that are tracked. */
  get size(): number {
    return this.#swarms.size;
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
    trim(this.#swarms, MOST_SWARMS);
  }

  /** The swarm of a blob as known now. */
  answer(digest: string): JoinAnswer {
    const swarm = this.#swarms.get(digest);
    const now = this.#now();
    return {
      members: swarm === undefined ? [] : listed(swarm.wanting, now),
      holders: swarm === undefined ? [] : listed(swarm.holding, now),
      ttl: MEMBER_TTL,
    };
  }

  /** Forgets the swarms used least recently whose nodes have all gone: a few at each word, so that none waits for it. */
  #expire(now: number): void {
    let looked = 0;
    for (const [digest, { wanting, holding }] of this.#swarms) {
      if (looked++ === 4) return;
      listed(wanting, now);
      listed(holding, now);
      if (wanting.size > 0 || holding.size > 0) return;
      this.#swarms.delete(digest);
    }
  }

  /** Nodes that have a whole blob. */
  holders(digest: string): Peer[] {
    return this.answer(digest).holders.map(([id, zone]) => ({ id, zone }));
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

function trim<K, V>(map: Map<K, V>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
