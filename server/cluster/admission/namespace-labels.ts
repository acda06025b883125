/** Labels of namespaces: from a watch, and from the API for one that the watch does not know yet or that has just got its label. */
import { LRUCache } from 'lru-cache';
import { asAccelError } from '../../../base/error.ts';
import { RESOURCES } from '../kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';

/** Milliseconds for which a namespace that has no label is not asked for again. */
const UNLABELLED = 1_000;

/** Labels by namespace, as far as they ask for something. */
export class NamespaceLabels {
  readonly #client: KubeClient;
  readonly #label: string;
  readonly #watch: KubeWatch<string>;
  readonly #unlabelled = new LRUCache<string, true>({ max: 1_000, ttl: UNLABELLED });
  readonly #log: (line: string) => void;

  /** Begins to watch; until {@link close}. */
  constructor(
    client: KubeClient,
    label: string,
    more: { readonly log: (line: string) => void; readonly onRestart: (reason: WatchRestart) => void },
  ) {
    this.#client = client;
    this.#label = label;
    this.#log = more.log;
    this.#watch = new KubeWatch(client, {
      resource: RESOURCES.namespaces,
      metadataOnly: true,
      labelSelector: label,
      project: ({ metadata }) => metadata.labels?.[label],
      ...more,
    });
  }

  /** Why the labels may be old; undefined while the watch works. */
  get problem(): string | undefined {
    return this.#watch.isSynced ? this.#watch.problem : 'the namespaces are not read yet';
  }

  /** The label of a namespace. Never throws: empty without an answer in time. */
  async find(namespace: string, signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    // The API server asks about pods without a label only where their namespace has one: if the watch does not know it, it is late.
    const known = this.#watch.objects.get(namespace) ?? (await this.#ask(namespace, signal));
    return known === undefined ? {} : { [this.#label]: known };
  }

  /** Ends the watch. */
  async close(): Promise<void> {
    await this.#watch.close();
  }

  async #ask(name: string, signal: AbortSignal): Promise<string | undefined> {
    if (this.#unlabelled.has(name)) return undefined;
    try {
      const namespace = await this.#client.find(RESOURCES.namespaces, { name }, { signal });
      const value = namespace?.metadata.labels?.[this.#label];
      if (value === undefined) this.#unlabelled.set(name, true);
      return value;
    } catch (error) {
      this.#log(`the label of the namespace ${name} is not known: ${asAccelError(error).message}`);
      return undefined;
    }
  }
}
