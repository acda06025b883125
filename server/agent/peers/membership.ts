/** Keeps the view of the members: asks its source again and again, adds at once, removes late, and never empties. */
import { setTimeout as sleep } from 'node:timers/promises';
import { hashText } from './hash.ts';
import type { Health, MemberSource, View } from './peers.ts';
import { createMembers, type Peer } from './topology.ts';

/** Milliseconds between two looks at the source. */
const REFRESH = 5_000;
const REFRESH_AT_MOST = 1_000;
/** Milliseconds that a member must be missing before it is removed: a restart is shorter. */
const REMOVE_AFTER = 30_000;
/** Milliseconds after which a list that was not confirmed counts as old; a watch of Kubernetes is silent for a minute at a time. */
const STALE_AFTER = 180_000;
/** Milliseconds between two looks at a source that says itself when it changes. */
const LEAST_WAIT = 100;
/** Milliseconds for which a node that did not answer is left out. */
const SUSPECT_FOR = 30_000;

/** Parts and settings of {@link Membership}. */
export interface MembershipOptions {
  readonly self: Peer;
  readonly source: MemberSource;
  /** Milliseconds; grows steadily. */
  readonly now?: () => number;
  readonly onChange?: (view: View) => void;
  readonly onProblem?: (problem: unknown) => void;
}

/** See the head of the file. */
export class Membership implements Health {
  readonly #options: MembershipOptions;
  readonly #now: () => number;
  readonly #seen = new Map<string, { readonly peer: Peer; readonly at: number }>();
  readonly #suspects = new Map<string, number>();
  #view: View;
  #ready = false;
  #refreshed = Number.NEGATIVE_INFINITY;
  #answered: number;
  #failure: string | undefined;
  #changed = false;
  #wake: () => void = () => undefined;

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#answered = this.#now();
    this.#view = viewOf(options.self, [options.self]);
    options.source.onChange?.(() => {
      this.#changed = true;
      this.#wake();
    });
  }

  /** The members as known now; this node is always among them. */
  get view(): View {
    return this.#view;
  }

  /** Whether the source has answered once. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Milliseconds since the members were last known to be right; since the start where they never were. */
  get age(): number {
    const asked = this.#now() - this.#answered;
    return this.#ready ? (this.#options.source.age?.() ?? asked) : asked;
  }

  /** Why the members may be old; undefined while they are fresh enough. */
  get stale(): string | undefined {
    const { age } = this;
    if (age < STALE_AFTER) return undefined;
    const reason = this.#options.source.problem?.() ?? this.#failure ?? 'the source does not answer';
    return `the list is ${Math.round(age / 1000)} s old, ${this.#options.source.name}: ${reason}`;
  }

  /** Nodes that are left out for now. */
  get suspects(): readonly string[] {
    return [...this.#suspects.keys()].filter((id) => this.isSuspect(id));
  }

  /** Another node has another view: the source is asked soon, at most once a second. */
  differs(version: string): void {
    if (version !== this.#view.version && this.#now() - this.#refreshed > REFRESH_AT_MOST) this.#wake();
  }

  /** Asks the source once. False when it could not answer: the view stays as it is. */
  async refresh(signal: AbortSignal): Promise<boolean> {
    this.#refreshed = this.#now();
    let peers: readonly Peer[];
    try {
      peers = await this.#options.source.read(signal);
    } catch (error) {
      if (signal.aborted) return false;
      this.#failure = error instanceof Error ? error.message : String(error);
      this.#options.onProblem?.(error);
      return false;
    }
    this.#answered = this.#now();
    this.#failure = undefined;
    // An empty answer is an outage of the source, not of all nodes.
    if (peers.length > 0) this.#merge(peers);
    this.#ready = true;
    return true;
  }

  /** Refreshes until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#changed = false;
      await this.refresh(signal);
      // A list that changes all the time, as while a thousand agents start, is read ten times a second at most.
      if (this.#changed) {
        await sleep(LEAST_WAIT, undefined, { signal, ref: false }).catch(() => undefined);
        continue;
      }
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      const either = AbortSignal.any([signal, woken.signal]);
      await sleep(REFRESH, undefined, { signal: either, ref: false }).catch(() => undefined);
      if (this.#changed) await sleep(LEAST_WAIT, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  isSuspect(id: string): boolean {
    const until = this.#suspects.get(id);
    if (until === undefined) return false;
    if (until > this.#now()) return true;
    this.#suspects.delete(id);
    return false;
  }

  suspect(id: string): void {
    for (const known of this.#suspects.keys()) this.isSuspect(known);
    this.#suspects.set(id, this.#now() + SUSPECT_FOR);
  }

  clear(id: string): void {
    this.#suspects.delete(id);
  }

  #merge(peers: readonly Peer[]): void {
    const now = this.#now();
    for (const peer of peers) this.#seen.set(peer.id, { peer, at: now });
    for (const [id, { at }] of this.#seen) if (now - at > REMOVE_AFTER) this.#seen.delete(id);
    const view = this.#viewNow();
    if (view.version === this.#view.version) return;
    this.#view = view;
    this.#options.onChange?.(view);
  }

  /** The view of all that were seen lately. This node has the zone that the others see, where it was not given one. */
  #viewNow(): View {
    const { id, zone } = this.#options.self;
    const self = { id, zone: zone === '' ? (this.#seen.get(id)?.peer.zone ?? '') : zone };
    const others = [...this.#seen.values()].map(({ peer }) => peer).filter((peer) => peer.id !== id);
    return viewOf(self, [self, ...others]);
  }
}

/** The view of a node that knows these members. */
export function viewOf(self: Peer, peers: readonly Peer[]): View {
  const members = createMembers(peers);
  const { hi, lo } = hashText(members.peers.map(({ id, zone }) => `${id} ${zone}`).join('\n'));
  return { self, members, version: hi.toString(16).padStart(8, '0') + lo.toString(16).padStart(8, '0') };
}
