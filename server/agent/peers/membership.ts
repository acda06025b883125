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
  #wake: () => void = () => undefined;

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#view = viewOf(options.self, [options.self]);
  }

  /** The members as known now; this node is always among them. */
  get view(): View {
    return this.#view;
  }

  /** Whether the source has answered once. */
  get ready(): boolean {
    return this.#ready;
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
      if (!signal.aborted) this.#options.onProblem?.(error);
      return false;
    }
    // An empty answer is an outage of the source, not of all nodes.
    if (peers.length > 0) this.#merge(peers);
    this.#ready = true;
    return true;
  }

  /** Refreshes until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.refresh(signal);
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      const either = AbortSignal.any([signal, woken.signal]);
      await sleep(REFRESH, undefined, { signal: either, ref: false }).catch(() => undefined);
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
    const { self } = this.#options;
    const view = viewOf(self, [self, ...[...this.#seen.values()].map(({ peer }) => peer)]);
    if (view.version === this.#view.version) return;
    this.#view = view;
    this.#options.onChange?.(view);
  }
}

/** The view of a node that knows these members. */
export function viewOf(self: Peer, peers: readonly Peer[]): View {
  const members = createMembers(peers);
  const { hi, lo } = hashText(members.peers.map(({ id, zone }) => `${id} ${zone}`).join('\n'));
  return { self, members, version: hi.toString(16).padStart(8, '0') + lo.toString(16).padStart(8, '0') };
}
