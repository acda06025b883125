/** Whether any node has the label of those that run accelerated images: without one a pod that asks for it would wait for ever. */
import { RESOURCES } from '../kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';

/** Counts them, until it is closed. */
export class LabelledNodes {
  readonly #nodes: KubeWatch<true>;

  /** Begins to watch the nodes with `label`, whose value is true. */
  constructor(
    client: KubeClient,
    label: string,
    more: { readonly log: (line: string) => void; readonly onRestart: (reason: WatchRestart) => void },
  ) {
    this.#nodes = new KubeWatch(client, {
      resource: RESOURCES.nodes,
      metadataOnly: true,
      labelSelector: `${label}=true`,
      project: () => true as const,
      ...more,
    });
  }

  /** Nodes with the label, as far as they are known: those of before while the API is away. */
  get count(): number {
    return this.#nodes.objects.size;
  }

  /** Whether the first list is complete. */
  get isSynced(): boolean {
    return this.#nodes.isSynced;
  }

  /** Ends the watch. */
  close(): Promise<void> {
    return this.#nodes.close();
  }
}
