/** Passes a prefetch on to all members of the network, and gathers their progress. */
import { randomBytes } from 'node:crypto';
import type { ExchangeClient } from '../peers/exchange-client.ts';
import type { Peer } from '../peers/topology.ts';
import type { PrefetchJobs } from './prefetch-jobs.ts';
import {
  type PrefetchProgress,
  type PrefetchRequest,
  type PrefetchState,
  parsePrefetchProgress,
} from './prefetch-request.ts';

/** Parts of {@link PrefetchFleet}. */
export interface FleetOptions {
  readonly jobs: PrefetchJobs;
  readonly client: ExchangeClient;
  readonly self: Peer;
  /** Other members, at the moment when it is asked. */
  readonly others: () => readonly Peer[];
}

/** The progress of a prefetch on all its nodes. */
export interface FleetProgress {
  readonly id: string;
  readonly state: PrefetchState;
  readonly nodes: readonly (PrefetchProgress & { readonly node: string })[];
}

/** Nodes asked at once, and prefetches of the whole network that are remembered. */
const AT_ONCE = 16;
const MOST_KEPT = 100;
/** Milliseconds for which the answer of a node counts, and failures in a row after which it counts as unreachable. */
const FRESH = 1_000;
const MOST_SILENCES = 3;

interface Member {
  readonly peer: Peer;
  progress: PrefetchProgress;
  silences: number;
}

interface Fleet {
  readonly members: readonly Member[];
  asked: number;
}

/** See the head of the file. */
export class PrefetchFleet {
  readonly #o: FleetOptions;
  readonly #fleets = new Map<string, Fleet>();

  constructor(options: FleetOptions) {
    this.#o = options;
  }

  /** Starts a prefetch here, and with `allNodes` on every member; undefined when too many run here. */
  async start(
    request: PrefetchRequest,
    authorization: string | undefined,
    allNodes: boolean,
  ): Promise<FleetProgress | undefined> {
    // Not to be guessed: whoever knows it may ask about the prefetch and end it.
    const id = randomBytes(16).toString('hex');
    const own = this.#o.jobs.start(id, request, authorization);
    if (own === undefined) return undefined;
    const waiting: PrefetchProgress = { ...own, state: 'running' };
    const members = (allNodes ? this.#o.others() : []).map((peer) => ({ peer, progress: waiting, silences: 0 }));
    this.#fleets.set(id, { members, asked: performance.now() });
    if (this.#fleets.size > MOST_KEPT) this.#fleets.delete(this.#fleets.keys().next().value!);
    const body = Buffer.from(JSON.stringify(request));
    await forEach(members, async (member) => {
      const question = { method: 'POST', id, body, authorization } as const;
      note(member, await this.#o.client.prefetch(member.peer, question), MOST_SILENCES);
    });
    return this.#gather(id);
  }

  /** The progress on all nodes; undefined for a prefetch that is not known. */
  async progress(id: string): Promise<FleetProgress | undefined> {
    const fleet = this.#fleets.get(id);
    if (fleet !== undefined && performance.now() - fleet.asked > FRESH) {
      fleet.asked = performance.now();
      await this.#askRunning(id, fleet, 'GET');
    }
    return this.#gather(id);
  }

  /** Ends a prefetch on all nodes. */
  async cancel(id: string): Promise<FleetProgress | undefined> {
    this.#o.jobs.cancel(id);
    const fleet = this.#fleets.get(id);
    if (fleet !== undefined) await this.#askRunning(id, fleet, 'DELETE');
    return this.#gather(id);
  }

  async #askRunning(id: string, { members }: Fleet, method: 'GET' | 'DELETE'): Promise<void> {
    const running = members.filter(({ progress }) => progress.state === 'running');
    await forEach(running, async (member) => note(member, await this.#o.client.prefetch(member.peer, { method, id })));
  }

  #gather(id: string): FleetProgress | undefined {
    const own = this.#o.jobs.progress(id);
    if (own === undefined) return undefined;
    const others = this.#fleets.get(id)?.members ?? [];
    const nodes = [
      { node: this.#o.self.id, ...own },
      ...others.map(({ peer, progress }) => ({ node: peer.id, ...progress })),
    ];
    return { id, state: stateOf(nodes), nodes };
  }
}

function stateOf(nodes: readonly PrefetchProgress[]): PrefetchState {
  if (nodes.some(({ state }) => state === 'running')) return 'running';
  if (nodes.every(({ state }) => state === 'done')) return 'done';
  return nodes.some(({ state }) => state === 'cancelled') ? 'cancelled' : 'failed';
}

/** Takes in a node's answer; `weight`: how much no answer counts. */
function note(member: Member, answer: string | undefined, weight = 1): void {
  const progress = answer === undefined ? undefined : parsePrefetchProgress(answer);
  if (progress !== undefined) {
    member.progress = progress;
    member.silences = 0;
    return;
  }
  member.silences += weight;
  if (member.silences >= MOST_SILENCES) {
    const problem = { status: 0, message: 'the node does not answer, or does not know of the prefetch' };
    member.progress = { ...member.progress, state: 'unreachable', problem };
  }
}

async function forEach<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of left) await work(item);
    }),
  );
}
