/**
 * Whether enough nodes have a ready agent for images to go through them. An agent is ready while kubelet finds it so: its endpoint in the
 * Service's EndpointSlices is the heartbeat, and kubelet's own silence ends it, too.
 */

import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';

/** Settings of the share. */
export interface AgentShareOptions {
  readonly namespace: string;
  readonly service: string;
  readonly nodeSelector: Readonly<Record<string, string>>;
  /** From 0 to 1. */
  readonly share: number;
  readonly log: (line: string) => void;
  readonly onRestart: (resource: string, reason: WatchRestart) => void;
}

/** An EndpointSlice, as far as it is read. */
interface EndpointSlice extends KubeObject {
  readonly endpoints?: readonly {
    readonly nodeName?: string;
    readonly conditions?: { readonly ready?: boolean | null; readonly serving?: boolean | null };
  }[];
}

/** Milliseconds without a word of the API after which the figures count as unknown. */
const SILENCE = 180_000;

/** Whether kubelet finds an agent ready. Their Service publishes all addresses as `ready`; `serving` is kubelet's word. */
function isServing({
  ready,
  serving,
}: {
  readonly ready?: boolean | null;
  readonly serving?: boolean | null;
} = {}): boolean {
  return (serving ?? ready) !== false;
}

/** The share of nodes with a ready agent. */
export class AgentShare {
  readonly #options: AgentShareOptions;
  readonly #slices: KubeWatch<readonly string[]>;
  readonly #nodes: KubeWatch<true>;
  #ready: number | undefined;

  /** Begins to watch; until {@link close}. */
  constructor(client: KubeClient, options: AgentShareOptions) {
    const { namespace, service, nodeSelector, log, onRestart } = options;
    this.#options = options;
    this.#slices = new KubeWatch(client, {
      resource: RESOURCES.endpointSlices,
      namespace,
      labelSelector: `kubernetes.io/service-name=${service}`,
      project: (slice: EndpointSlice): readonly string[] =>
        (slice.endpoints ?? []).flatMap(({ nodeName, conditions }) =>
          nodeName !== undefined && isServing(conditions) ? [nodeName] : [],
        ),
      onChange: () => {
        this.#ready = undefined;
      },
      log,
      onRestart: (reason) => onRestart('endpointslices', reason),
    });
    this.#nodes = new KubeWatch(client, {
      resource: RESOURCES.nodes,
      metadataOnly: true,
      labelSelector: Object.entries(nodeSelector)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
      project: () => true as const,
      onChange: () => {
        this.#ready = undefined;
      },
      log,
      onRestart: (reason) => onRestart('nodes', reason),
    });
  }

  /** Nodes that should have an agent, and those of them with a ready one. */
  get figures(): { readonly nodes: number; readonly ready: number } {
    this.#ready ??= new Set(
      [...this.#slices.objects.values()].flat().filter((node) => this.#nodes.objects.has(node)),
    ).size;
    return { nodes: this.#nodes.objects.size, ready: this.#ready };
  }

  /** Whether images may go through the agents. False while that is not known. */
  get isEnough(): boolean {
    for (const watch of [this.#slices, this.#nodes]) if (!watch.isSynced || watch.silence > SILENCE) return false;
    const { nodes, ready } = this.figures;
    return nodes > 0 && ready / nodes >= this.#options.share;
  }

  /** Ends the watches. */
  async close(): Promise<void> {
    await Promise.all([this.#slices.close(), this.#nodes.close()]);
  }
}
