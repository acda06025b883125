/**
 * One leader among several processes, by a Lease. Whoever cannot renew it in time stops leading before somebody else may begin: the
 * others wait for the lease's time by their own clock since they saw it change, the leader gives up a quarter before.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { asAccelError } from '../../../base/error.ts';
import type { KubeClient } from '../kube.ts';
import { isKubeError } from './kube-error.ts';
import { type KubeObject, RESOURCES } from './kube-resources.ts';

/** Milliseconds for which a lease counts after it was renewed; another process leads within this time and one try. */
const LEASE_TIME = 10_000;
/** Shares of this time: between two tries to get or to renew it, and after the last renewal until the leader stops. */
const TRY_SHARE = 0.2;
const GIVE_UP_SHARE = 0.75;

/** An election. */
export interface ElectionOptions {
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Name of this process, such as its pod's. */
  readonly identity: string;
  /** Does the leader's work until the signal fires, and ends soon after. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
  readonly log: (line: string) => void;
  /** Milliseconds for which the lease counts after it was renewed; ten seconds unless given. */
  readonly leaseTime?: number;
}

interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/** Takes part in an election until it is closed. */
export class LeaderElection {
  readonly #client: KubeClient;
  readonly #options: ElectionOptions;
  readonly #leaseTime: number;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  /** The lease as it was seen last, and when its content was new. */
  #seen: { readonly version: string; readonly at: number } | undefined;
  #leading: { readonly end: AbortController; readonly work: Promise<void> } | undefined;
  #renewed = Number.NEGATIVE_INFINITY;

  constructor(client: KubeClient, options: ElectionOptions) {
    this.#client = client;
    this.#options = options;
    this.#leaseTime = options.leaseTime ?? LEASE_TIME;
    this.#done = this.#run();
  }

  /** Whether this process leads. */
  get isLeader(): boolean {
    return this.#leading !== undefined;
  }

  /** Ends the work and gives the lease away, so that another process leads at once. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#done;
    const led = this.isLeader;
    await this.#resign();
    if (led) await this.#release().catch(() => undefined);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { identity, log } = this.#options;
    const [tryEvery, giveUp] = [this.#leaseTime * TRY_SHARE, this.#leaseTime * GIVE_UP_SHARE];
    while (!signal.aborted) {
      try {
        const held = await this.#hold(AbortSignal.any([signal, AbortSignal.timeout(giveUp - tryEvery)]));
        if (held) this.#renewed = performance.now();
        if (held && this.#leading === undefined) this.#begin();
        if (!held && this.#leading !== undefined) await this.#resign();
      } catch (error) {
        if (signal.aborted) break;
        const isOthers = isKubeError(error, 'Conflict', 'AlreadyExists');
        if (!isOthers) log(`${identity} cannot renew the lease: ${asAccelError(error).message}`);
      }
      if (this.#leading !== undefined && performance.now() - this.#renewed > giveUp) await this.#resign();
      await delay(tryEvery, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Renews or takes the lease; false while another process holds it. */
  async #hold(signal: AbortSignal): Promise<boolean> {
    const { namespace, name, identity } = this.#options;
    const key = { namespace, name };
    const lease = await this.#client.find<Lease>(RESOURCES.leases, key, { signal });
    if (lease === undefined) {
      const created = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: key,
        spec: this.#spec(undefined),
      };
      await this.#client.create(RESOURCES.leases, created, { signal });
      return true;
    }
    const { holderIdentity = '' } = lease.spec ?? {};
    const version = lease.metadata.resourceVersion ?? '';
    if (this.#seen?.version !== version) this.#seen = { version, at: performance.now() };
    const isFree = holderIdentity === '' || performance.now() - this.#seen.at >= this.#leaseTime;
    if (holderIdentity !== identity && !isFree) return false;
    // The resourceVersion in it lets one of several win.
    const stored = await this.#client.replace(RESOURCES.leases, { ...lease, spec: this.#spec(lease) }, { signal });
    this.#seen = { version: stored.metadata.resourceVersion ?? '', at: performance.now() };
    return true;
  }

  #spec(lease: Lease | undefined): NonNullable<Lease['spec']> {
    const { identity } = this.#options;
    const now = new Date().toISOString().replace('Z', '000Z');
    const { holderIdentity, acquireTime = now, leaseTransitions = 0 } = lease?.spec ?? {};
    const isOwn = holderIdentity === identity;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(this.#leaseTime / 1000),
      acquireTime: isOwn ? acquireTime : now,
      renewTime: now,
      leaseTransitions: isOwn || lease === undefined ? leaseTransitions : leaseTransitions + 1,
    };
  }

  #begin(): void {
    const { identity, lead, log } = this.#options;
    const end = new AbortController();
    log(`${identity} leads`);
    const work = lead(end.signal).catch((error: unknown) => {
      if (!end.signal.aborted) log(`the work of the leader failed: ${asAccelError(error).message}`);
    });
    this.#leading = { end, work };
    // Work that has ended gives the lease back to whoever can do it.
    void work.then(() => {
      if (this.#leading?.work === work) this.#leading = undefined;
    });
  }

  async #resign(): Promise<void> {
    const leading = this.#leading;
    if (leading === undefined) return;
    leading.end.abort();
    await leading.work;
    this.#leading = undefined;
    this.#options.log(`${this.#options.identity} leads no more`);
  }

  async #release(): Promise<void> {
    const { namespace, name, identity } = this.#options;
    const lease = await this.#client.get<Lease>(RESOURCES.leases, { namespace, name });
    if (lease.spec?.holderIdentity !== identity) return;
    await this.#client.replace(RESOURCES.leases, { ...lease, spec: { ...lease.spec, holderIdentity: '' } });
  }
}
