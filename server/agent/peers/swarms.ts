/** The swarms that this node is in: joins them at their trackers, keeps its list of who else wants the blob fresh, and leaves. */
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { atMost } from '../at-most.ts';
import { unlessAborted } from '../limits.ts';
import { SingleFlight } from '../pieces/single-flight.ts';
import type { ExchangeClient } from './exchange-client.ts';
import type { Health, View } from './peers.ts';
import { blobKey, createSwarm, type Peer, type Swarm, trackers } from './topology.ts';
import type { Tracker } from './tracker.ts';

/** Milliseconds between the first joins of a swarm; each wait is twice the one before. */
const FIRST_REFRESH = 100;
const LAST_REFRESH = 2_000;
/** Milliseconds after its last use at which a swarm is no longer refreshed. */
const LINGER = 5_000;
/** Milliseconds for which the answer of a tracker about holders counts, and blobs for which one is kept. */
const HOLDERS_FOR = 2_000;
const MOST_ASKED = 2_000;
/** Milliseconds for saying goodbye to trackers when the agent stops. */
const GOODBYE = 500;

/** Parts and settings of {@link Swarms}. */
export interface SwarmsOptions {
  readonly view: () => View;
  readonly client: ExchangeClient;
  /** This node's own tracker: it may be the tracker of what it wants. */
  readonly tracker: Tracker;
  readonly health: Health;
}

/** A swarm that this node is in. */
export interface JoinedSwarm {
  /** The members as known now. */
  readonly swarm: Swarm;
  /** Nodes that have the whole blob. */
  readonly holders: readonly Peer[];
  /** Resolves when a tracker has answered once, or none did. */
  readonly ready: Promise<void>;
}

interface Entry extends JoinedSwarm {
  swarm: Swarm;
  holders: readonly Peer[];
  ready: Promise<void>;
  users: number;
  readonly stop: AbortController;
  linger: NodeJS.Timeout | undefined;
}

/** See the head of the file. */
export class Swarms {
  readonly #options: SwarmsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #asked = new LRUCache<string, readonly Peer[]>({ ...atMost(MOST_ASKED), ttl: HOLDERS_FOR });
  readonly #asking = new SingleFlight<readonly Peer[]>();

  constructor(options: SwarmsOptions) {
    this.#options = options;
  }

  /** Swarms that this node is in. */
  get size(): number {
    return this.#entries.size;
  }

  /** The swarm of a blob if this node is in it. */
  joined(digest: string): JoinedSwarm | undefined {
    return this.#entries.get(digest);
  }

  /** Joins a swarm, or one user more of one that is joined. Call {@link leave} as often. */
  join(digest: string): JoinedSwarm {
    let entry = this.#entries.get(digest);
    if (entry === undefined) {
      const { self } = this.#options.view();
      entry = {
        swarm: createSwarm([self]),
        holders: [],
        ready: Promise.resolve(),
        users: 0,
        stop: new AbortController(),
        linger: undefined,
      };
      this.#entries.set(digest, entry);
      entry.ready = this.#refresh(digest, entry);
      void this.#keep(digest, entry);
    }
    clearTimeout(entry.linger);
    entry.users += 1;
    return entry;
  }

  /** One user less. The last one's swarm is kept for a moment: a client that resumes comes back to it. */
  leave(digest: string): void {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return;
    entry.users -= 1;
    if (entry.users > 0) return;
    entry.linger = setTimeout(() => {
      entry.stop.abort();
      this.#entries.delete(digest);
      void this.#leaveTrackers(digest, AbortSignal.timeout(LINGER)).catch(() => undefined);
    }, LINGER);
    entry.linger.unref();
  }

  /** Says to the blob's trackers that this node has all of it. False when none of them answers. */
  async announce(digest: string, signal?: AbortSignal): Promise<boolean> {
    return (await this.#ask(digest, { complete: true, all: true }, signal)) !== undefined;
  }

  /** The trackers of a blob by the view of now, as a text that is equal for equal ones. */
  trackersOf(digest: string): string {
    return trackers(this.#options.view().members, blobKey(digest))
      .map(({ id }) => id)
      .join(' ');
  }

  /** Nodes that have a whole blob, asked of its trackers. Rejects only with the signal's reason. */
  async holders(digest: string, signal?: AbortSignal): Promise<readonly Peer[]> {
    const joined = this.#entries.get(digest);
    // Refreshed all the time; and asking as one who leaves would take this node out of the swarm.
    if (joined !== undefined) {
      await unlessAborted(joined.ready, signal);
      return joined.holders;
    }
    const known = this.#asked.get(digest);
    if (known !== undefined) return known;
    return this.#asking.run(
      digest,
      async (own) => {
        const found = await this.#askHolders(digest, own);
        this.#asked.set(digest, found);
        return found;
      },
      signal,
    );
  }

  async #askHolders(digest: string, signal: AbortSignal): Promise<readonly Peer[]> {
    const { self, members } = this.#options.view();
    const found = this.#options.tracker.holders(digest);
    if (found.length > 0) return this.#known(found);
    for (const peer of trackers(members, blobKey(digest))) {
      if (peer.id === self.id || this.#options.health.isSuspect(peer.id)) continue;
      // Leaving asks without wanting: an owner need not be pulling.
      const answer = await this.#options.client.join(peer, digest, this.#request({ leaving: true }), signal);
      if (answer !== undefined) return this.#known(answer.holders);
    }
    return [];
  }

  /** Leaves all swarms, and says so to the trackers for a moment. */
  async close(): Promise<void> {
    const left = [...this.#entries];
    for (const [, { stop, linger }] of left) {
      clearTimeout(linger);
      stop.abort();
    }
    this.#entries.clear();
    const signal = AbortSignal.timeout(GOODBYE);
    await Promise.allSettled(left.map(([digest]) => this.#leaveTrackers(digest, signal)));
  }

  async #leaveTrackers(digest: string, signal: AbortSignal): Promise<void> {
    const { self, members } = this.#options.view();
    const request = this.#request({ leaving: true });
    const told = trackers(members, blobKey(digest)).map(async (peer) => {
      if (peer.id === self.id) this.#options.tracker.note(digest, request);
      else if (!this.#options.health.isSuspect(peer.id)) await this.#options.client.join(peer, digest, request, signal);
    });
    await Promise.allSettled(told);
  }

  /** Those of a tracker's answer that are members: a tracker sends this node nowhere else. Zones are as the tracker has them. */
  #known(peers: readonly Peer[]): Peer[] {
    const { self, members } = this.#options.view();
    const ids = new Set(members.peers.map(({ id }) => id));
    return peers.filter(({ id }) => id !== self.id && ids.has(id));
  }

  async #keep(digest: string, entry: Entry): Promise<void> {
    const { signal } = entry.stop;
    await entry.ready;
    for (let wait = FIRST_REFRESH; !signal.aborted; wait = Math.min(LAST_REFRESH, wait * 2)) {
      await sleep(wait, undefined, { signal, ref: false }).catch(() => undefined);
      if (!signal.aborted && entry.users > 0) await this.#refresh(digest, entry);
    }
  }

  async #refresh(digest: string, entry: Entry): Promise<void> {
    const answer = await this.#ask(digest, {}, entry.stop.signal).catch(() => undefined);
    const { self, members } = this.#options.view();
    // Without a tracker everyone may want it: the order among all members has no cycle either.
    entry.swarm = createSwarm(answer === undefined ? members.peers : [self, ...this.#known(answer.members)]);
    if (answer !== undefined) entry.holders = this.#known(answer.holders);
  }

  /** Asks the trackers in order until one answers; all of them where `all` says so. */
  async #ask(
    digest: string,
    { complete = false, all = false }: { readonly complete?: boolean; readonly all?: boolean },
    signal: AbortSignal | undefined,
  ) {
    const { self, members } = this.#options.view();
    const request = this.#request({ complete });
    let first: { readonly members: readonly Peer[]; readonly holders: readonly Peer[] } | undefined;
    for (const peer of trackers(members, blobKey(digest))) {
      if (peer.id === self.id) {
        const { members: wanting, holders } = await this.#options.tracker.join(digest, request);
        first ??= { members: peersOf(wanting), holders: peersOf(holders) };
      } else if (!this.#options.health.isSuspect(peer.id)) {
        const answer = await this.#options.client.join(peer, digest, request, signal);
        if (answer === undefined) this.#options.health.suspect(peer.id);
        first ??= answer;
      }
      if (first !== undefined && !all) return first;
    }
    return first;
  }

  #request(more: { readonly complete?: boolean; readonly leaving?: boolean }) {
    const { self, version } = this.#options.view();
    return { id: self.id, zone: self.zone, view: version, ...more };
  }
}

function peersOf(entries: readonly (readonly [string, string])[]): Peer[] {
  return entries.map(([id, zone]) => ({ id, zone }));
}
