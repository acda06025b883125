/**
 * The members of the agents' network from the EndpointSlices of their Service: a watch keeps them in memory, so an agent asks the API
 * server once and hears of changes at once. While the API is away the last known members stay. main.ts hands this to the agent, which
 * knows nothing of Kubernetes.
 */
import { isIP, isIPv6 } from 'node:net';
import { AccelError } from '../../base/error.ts';
import { kubeAccess } from './kube/kube-access.ts';
import { type KubeObject, RESOURCES } from './kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from './kube/kube-watch.ts';
import { KubeClient } from './kube.ts';

/** A member: its id, `ip:port`, and its zone, empty where it is not known. */
export interface SliceMember {
  readonly id: string;
  readonly zone: string;
}

/** The Service, and who hears of its watch. */
export interface PeerSliceOptions {
  /** Way to the API; the pod's service account unless given. */
  readonly kubeconfig: string | undefined;
  /** Namespace of the Service; that of the service account unless given. */
  readonly namespace: string | undefined;
  readonly service: string;
  /** Port of the agents where a slice has no port named `peers`. */
  readonly port: number;
  /** This agent's own `ip:port`: members are of the same family of addresses, since an agent is known by one. */
  readonly self: string;
  readonly onRestart: (reason: WatchRestart) => void;
  readonly log: (line: string) => void;
  /** Milliseconds; grows steadily. */
  readonly now?: () => number;
}

/** An EndpointSlice, as far as it is read (Kubernetes, discovery.k8s.io/v1). */
interface EndpointSlice extends KubeObject {
  readonly addressType?: string;
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[] | null;
  readonly endpoints?:
    | readonly {
        readonly addresses?: readonly string[];
        readonly zone?: string;
        readonly hints?: { readonly forZones?: readonly { readonly name?: string }[] | null };
        readonly conditions?: {
          readonly ready?: boolean | null;
          readonly serving?: boolean | null;
          readonly terminating?: boolean | null;
        };
      }[]
    | null;
}

/** An endpoint, as far as it is kept. */
interface Endpoint extends SliceMember {
  readonly serving: boolean;
}

/** Name of the port. */
const PORT = 'peers';
/**
 * Milliseconds for which an agent that kubelet does not find ready is a member all the same: a thousand agents that start together need
 * each other before any of them is ready. Later it is one whose node is gone.
 */
const STARTING = 60_000;

/** The members, until it is closed. */
export class PeerSlices {
  /** For messages and the log. */
  readonly name: string;
  readonly #client: KubeClient;
  readonly #watch: KubeWatch<readonly Endpoint[]>;
  readonly #now: () => number;
  /** Since when an endpoint is not serving. */
  readonly #unready = new Map<string, number>();
  #changed: () => void = () => undefined;

  private constructor(client: KubeClient, namespace: string, options: PeerSliceOptions) {
    const { service, port, self, onRestart, log, now = () => performance.now() } = options;
    this.name = `the EndpointSlices of ${namespace}/${service}`;
    this.#client = client;
    this.#now = now;
    const family = isIPv6(self.slice(0, self.lastIndexOf(':')).replace(/^\[|\]$/g, '')) ? 'IPv6' : 'IPv4';
    this.#watch = new KubeWatch(client, {
      resource: RESOURCES.endpointSlices,
      namespace,
      labelSelector: `kubernetes.io/service-name=${service}`,
      project: (slice: EndpointSlice) => (slice.addressType === family ? endpointsOf(slice, port) : []),
      onChange: () => this.#changed(),
      onRestart,
      log,
    });
  }

  /** Begins to watch. Throws `usage` where there is no way to the API. */
  static async open(options: PeerSliceOptions): Promise<PeerSlices> {
    const access = await kubeAccess(options.kubeconfig);
    const namespace = options.namespace ?? access.namespace;
    if (namespace === undefined) {
      throw new AccelError('usage', 'the Service of the agents needs a namespace', {
        where: { key: 'agent.peers.service.namespace' },
        expected: 'the namespace of the Service',
      });
    }
    return new PeerSlices(await KubeClient.open(access), namespace, options);
  }

  /** The members; waits for the first list. Rejects with the signal's reason. */
  async read(signal: AbortSignal): Promise<readonly SliceMember[]> {
    signal.throwIfAborted();
    await this.#watch.synced(signal);
    const all = new Map<string, Endpoint>();
    // While an endpoint moves from one slice to another it is in both, or its old state is: the one that serves counts.
    for (const endpoint of [...this.#watch.objects.values()].flat()) {
      if (all.get(endpoint.id)?.serving !== true) all.set(endpoint.id, endpoint);
    }
    const now = this.#now();
    for (const id of this.#unready.keys()) if (all.get(id)?.serving !== false) this.#unready.delete(id);
    const members = [...all.values()].filter(({ id, serving }) => {
      if (serving) return true;
      if (!this.#unready.has(id)) this.#unready.set(id, now);
      return now - this.#unready.get(id)! < STARTING;
    });
    // Where nobody is ready, kubelets or the probes are what is wrong.
    return (members.length > 0 ? members : [...all.values()]).map(({ id, zone }) => ({ id, zone }));
  }

  /** Calls a function whenever the members may have changed. */
  onChange(changed: () => void): void {
    this.#changed = changed;
  }

  /** Milliseconds since the API was last heard, by an event or a bookmark. */
  age(): number {
    return this.#watch.silence;
  }

  /** Why the members may be old. */
  problem(): string | undefined {
    return this.#watch.problem;
  }

  /** Ends the watch. */
  async close(): Promise<void> {
    await this.#watch.close();
    await this.#client.close();
  }
}

function endpointsOf({ ports, endpoints }: EndpointSlice, otherwise: number): readonly Endpoint[] {
  const port = ports?.find(({ name }) => name === PORT)?.port ?? otherwise;
  return (endpoints ?? []).flatMap(({ addresses: [address = ''] = [], zone, hints, conditions = {} }) => {
    // An agent that ends takes no new work; another one of its node has the same id and is added again.
    if (isIP(address) === 0 || conditions.terminating === true) return [];
    // A Service may publish all addresses as ready: `serving` is what kubelet says.
    const serving = (conditions.serving ?? conditions.ready) !== false;
    const id = isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
    return [{ id, zone: zone ?? hints?.forZones?.[0]?.name ?? '', serving }];
  });
}
