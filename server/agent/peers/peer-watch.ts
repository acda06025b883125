/**
 * Watches whether any other agent can be reached: asks a few of them for a sign of life while none has answered lately, so that
 * an agent whose certificate nobody accepts says so before the first pull does without the others.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { Peer } from './topology.ts';

/** Parts and settings of {@link PeerWatch}. */
export interface PeerWatchOptions {
  /** The other members. */
  readonly others: () => readonly Peer[];
  /** Connects to a member: why it cannot be reached, undefined when it answers. */
  readonly ping: (peer: Peer) => Promise<string | undefined>;
  readonly log: (line: string) => void;
  /** Milliseconds between two rounds. */
  readonly every?: number | undefined;
}

/** A member that could not be reached when it was last asked. */
export interface PeerProblem {
  /** Its id, `ip:port`. */
  readonly node: string;
  readonly lastError: string;
  /** RFC 3339: when it was last asked. */
  readonly at: string;
}

/** Milliseconds between two rounds, and for which an answer counts. */
const EVERY = 15_000;
const ANSWERED_LATELY = 60_000;
/** Members that are asked in a round, and rounds without an answer after which that is a problem: others may be starting. */
const ASKED = 3;
const ROUNDS = 2;
/** Problems that are remembered, and that are listed. */
const MOST_KEPT = 1_000;
const MOST_LISTED = 20;

/** Adds the usual cause to a reason: a node that refuses a certificate ends the connection without a word. */
function explained(reason: string): string {
  return /broke|ECONNRESET|hang up/.test(reason) ? `${reason}: it may not accept this agent's certificate` : reason;
}

/** See the head of the file. */
export class PeerWatch {
  readonly #o: PeerWatchOptions;
  readonly #problems = new LRUCache<string, PeerProblem>({ max: MOST_KEPT });
  #answered = Number.NEGATIVE_INFINITY;
  #failedRounds = 0;
  #next = 0;
  #degraded: string | undefined;

  constructor(options: PeerWatchOptions) {
    this.#o = options;
  }

  /** The number of members that could not be reached when they were last asked. */
  get size(): number {
    return this.#problems.size;
  }

  /** Members that could not be reached when they were last asked, the latest first; at most 20. */
  get problems(): readonly PeerProblem[] {
    return [...this.#problems.values()].slice(0, MOST_LISTED);
  }

  /** Why this node shares with nobody; undefined when it can, and when there is nobody. */
  get degraded(): string | undefined {
    return this.#degraded;
  }

  /** A member was asked for something: why it could not be reached, undefined when it answered. */
  note(node: string, problem: string | undefined): void {
    if (problem === undefined) {
      this.#problems.delete(node);
      this.#answered = performance.now();
      this.#failedRounds = 0;
      if (this.#degraded !== undefined) this.#o.log('other agents are reached again');
      this.#degraded = undefined;
    } else this.#problems.set(node, { node, lastError: problem, at: new Date().toISOString() });
  }

  /** Watches until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { every = EVERY } = this.#o;
    while (!signal.aborted) {
      await sleep(every, undefined, { signal, ref: false }).catch(() => undefined);
      if (!signal.aborted) await this.#round();
    }
  }

  async #round(): Promise<void> {
    const { others, ping, log } = this.#o;
    const members = others();
    const ids = new Set(members.map(({ id }) => id));
    for (const node of [...this.#problems.keys()]) if (!ids.has(node)) this.#problems.delete(node);
    if (members.length === 0) this.#degraded = undefined;
    if (members.length === 0 || performance.now() - this.#answered < ANSWERED_LATELY) return;
    const asked = Array.from({ length: Math.min(ASKED, members.length) }, (_, turn) => {
      return members[(this.#next + turn) % members.length]!;
    });
    this.#next = (this.#next + asked.length) % members.length;
    const outcomes = await Promise.all(asked.map(ping));
    for (const [index, { id }] of asked.entries()) this.note(id, outcomes[index]);
    if (outcomes.includes(undefined)) return;
    this.#failedRounds += 1;
    if (this.#failedRounds < ROUNDS) return;
    const reason = `no other agent can be reached, ${asked[0]!.id}: ${explained(outcomes[0]!)}`;
    if (this.#degraded === undefined) log(`${reason}; pieces come from the registry alone`);
    this.#degraded = reason;
  }
}
