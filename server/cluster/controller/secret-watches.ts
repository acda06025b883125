/** Watches the secrets of the namespaces that the controller may read: one watch for all of them, or one for each that is named. */
import { type KubeObject, RESOURCES, type Selection } from '../kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';

/** A secret, as the API gives it. */
export interface Secret extends KubeObject {
  readonly type?: string;
  /** Base64 by key. */
  readonly data?: Readonly<Record<string, string>>;
}

/** Where secrets may be read. */
export interface SecretScope {
  readonly namespaces: readonly string[];
  /** In every namespace. */
  readonly clusterWide: boolean;
}

/** Settings of the watches. */
export interface SecretWatchOptions<T> extends Pick<Selection, 'labelSelector' | 'fieldSelector'> {
  readonly scope: SecretScope;
  /** The part of a secret that is kept. */
  readonly project: (secret: Secret) => T | undefined;
  /** `key`: `NAMESPACE/NAME`. */
  readonly onChange: (key: string, now: T | undefined, before: T | undefined) => void;
  readonly onRestart: (reason: WatchRestart) => void;
  readonly log: (line: string) => void;
}

/** The watches together. */
export class SecretWatches<T> {
  readonly #watches: readonly KubeWatch<T>[];

  /** Begins to watch; until {@link close}. */
  constructor(client: KubeClient, { scope, ...options }: SecretWatchOptions<T>) {
    const namespaces = scope.clusterWide ? [undefined] : scope.namespaces;
    this.#watches = namespaces.map(
      (namespace) =>
        new KubeWatch<T>(client, {
          ...options,
          resource: RESOURCES.secrets,
          namespace,
          project: options.project as (object: KubeObject) => T | undefined,
        }),
    );
  }

  /** Finds the part of a secret that is kept, by `NAMESPACE/NAME`. */
  get(key: string): T | undefined {
    for (const { objects } of this.#watches) {
      const found = objects.get(key);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** All of them, by `NAMESPACE/NAME`. */
  *entries(): Generator<readonly [string, T]> {
    for (const { objects } of this.#watches) yield* objects;
  }

  /** Whether the first lists are complete. */
  get isSynced(): boolean {
    return this.#watches.every(({ isSynced }) => isSynced);
  }

  /** Why what is known may be old. */
  get problem(): string | undefined {
    return this.#watches.find(({ problem }) => problem !== undefined)?.problem;
  }

  /** Resolves when the first lists are complete. */
  async synced(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch.synced(signal)));
  }

  /** Ends the watches. */
  async close(): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch.close()));
  }
}
