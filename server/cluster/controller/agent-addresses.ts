/** Where the agents of a Service answer for their nodes: the port `metrics` of its EndpointSlices, by node. */
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';

/** An EndpointSlice, as far as it is read. */
interface EndpointSlice extends KubeObject {
  readonly addressType?: string;
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[] | null;
  readonly endpoints?: readonly { readonly nodeName?: string; readonly addresses?: readonly string[] }[] | null;
}

/** `HOST:PORT` by node. */
type Addresses = ReadonlyMap<string, string>;

/** The Service, and who hears of its watch. */
export interface AgentAddressOptions {
  readonly namespace: string;
  readonly service: string;
  readonly onRestart: (resource: string, reason: WatchRestart) => void;
  readonly log: (line: string) => void;
}

/** Name of the port. */
const PORT = 'metrics';

/** The agents by node, until it is closed. An agent counts whether or not it is ready: it speaks for its node in any case. */
export class AgentAddresses {
  readonly #slices: KubeWatch<Addresses>;

  /** Begins to watch. */
  constructor(client: KubeClient, { namespace, service, onRestart, log }: AgentAddressOptions) {
    this.#slices = new KubeWatch(client, {
      resource: RESOURCES.endpointSlices,
      namespace,
      labelSelector: `kubernetes.io/service-name=${service}`,
      project: addressesOf,
      onRestart: (reason) => onRestart('endpointslices', reason),
      log,
    });
  }

  /** The address of the agent of each node that has one, IPv4 where it has both. */
  get byNode(): Addresses {
    const all = [...this.#slices.objects.values()].flatMap((addresses) => [...addresses]);
    // The last one of a node counts.
    return new Map(all.sort(([, a], [, b]) => Number(b.startsWith('[')) - Number(a.startsWith('['))));
  }

  /** Whether the first list is complete. */
  get isSynced(): boolean {
    return this.#slices.isSynced;
  }

  /** Why what is known may be old. */
  get problem(): string | undefined {
    return this.#slices.isSynced ? this.#slices.problem : "the agents' endpoints are not read yet";
  }

  /** Ends the watch. */
  close(): Promise<void> {
    return this.#slices.close();
  }
}

function addressesOf({ addressType, ports, endpoints }: EndpointSlice): Addresses {
  const port = ports?.find(({ name }) => name === PORT)?.port;
  if (port === undefined || (addressType !== 'IPv4' && addressType !== 'IPv6')) return new Map();
  return new Map(
    (endpoints ?? []).flatMap(({ nodeName, addresses: [address] = [] }): [string, string][] => {
      if (nodeName === undefined || address === undefined) return [];
      return [[nodeName, addressType === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`]];
    }),
  );
}
