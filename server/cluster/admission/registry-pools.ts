/** Open repositories for lookups: few connections, short deadlines, no retries, since a pod waits. */
import { LRUCache } from 'lru-cache';
import { openTarget } from '../../../oci/open.ts';
import type { Target } from '../../../oci/storage.ts';
import { type RegistryAccess, registryOptions } from '../../config/registry-access.ts';

/** Repositories that are kept open. */
const MOST_OPEN = 500;
/** Milliseconds after which one is opened again, since its credentials may have changed. */
const OPEN_TIME = 300_000;
/** Milliseconds after which an abandoned one is closed: lookups that use it have ended by then. */
const GRACE = 30_000;
const RUNTIME = {
  attempts: 1,
  slowAttempts: 1,
  connectTimeout: 3_000,
  stallTimeout: 5_000,
  documentTimeout: 8_000,
};

/** Repositories by the host of the registry's API and their name. */
export class RegistryPools {
  readonly #registries: readonly RegistryAccess[];
  readonly #open = new LRUCache<string, Promise<Target>>({
    max: MOST_OPEN,
    ttl: OPEN_TIME,
    dispose: (target) => void setTimeout(() => void closing(target), GRACE).unref(),
  });

  constructor(registries: readonly RegistryAccess[]) {
    this.#registries = registries;
  }

  /** Opens a repository, or gives the open one. Throws `io-error` for credentials that cannot be read. */
  async repository(registry: string, repository: string): Promise<Target> {
    const key = `${registry}/${repository}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const opening = this.#openTarget(registry, repository);
    this.#open.set(key, opening);
    opening.catch(() => this.#open.delete(key));
    return opening;
  }

  /** Closes all of them. */
  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map(closing));
  }

  async #openTarget(registry: string, repository: string): Promise<Target> {
    const options = await registryOptions(this.#registries, `${registry}/${repository}`);
    return openTarget({ kind: 'registry', registry, repository }, { ...options, maxWait: 0, runtime: RUNTIME });
  }
}

async function closing(target: Promise<Target>): Promise<void> {
  await target.then((open) => open.close?.()).catch(() => undefined);
}
