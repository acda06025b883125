/** The repositories that a run has open: each once, with the connections, tokens and answers that its images share. */
import { asAccelError } from '../../base/error.ts';
import { awaitAll } from '../../base/limiter.ts';
import { type Endpoints, repositoryToMount, targetOptions } from '../../converter/endpoints.ts';
import type { ConvertRequest } from '../../converter/options.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import { type OpenOptions, openTarget } from '../../oci/open.ts';
import { formatReference, parseRepository } from '../../oci/reference.ts';
import { SharedConnections } from '../../oci/registry/shared-connections.ts';
import type { Target } from '../../oci/storage.ts';

/** Options for the repositories of a run. */
export interface PoolOptions {
  readonly registry: OpenOptions;
  /** Of targets, where they have credentials of their own. */
  readonly targetRegistry?: OpenOptions | undefined;
  /** Nothing is written: a target that does not exist is not created. */
  readonly dryRun: boolean;
}

/** See the module's comment. {@link TargetPool.close} closes all. */
export class TargetPool {
  readonly #options: PoolOptions;
  readonly #connections = new SharedConnections();
  readonly #open = new Map<string, Promise<Target>>();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Options for clients of the run's registries. */
  get registry(): OpenOptions {
    return { ...this.#options.registry, shared: this.#connections };
  }

  /** The open repositories of a conversion. Throws what opening one throws. */
  async endpoints(request: ConvertRequest): Promise<Endpoints> {
    const source = await this.source(request.repository);
    if (request.targetRepository === undefined) return { source, target: source, mountFrom: undefined };
    const from = parseRepository(request.repository);
    const to = parseRepository(request.targetRepository);
    if (formatReference(from) === formatReference(to)) return { source, target: source, mountFrom: undefined };
    const { registry, targetRegistry } = this.#options;
    const reach = { registry, ...(targetRegistry === undefined ? {} : { targetRegistry }) };
    const create = !this.#options.dryRun;
    const target = await this.#opened(request.targetRepository, { ...targetOptions(request, reach), create });
    return { source, target, mountFrom: repositoryToMount(from, to) };
  }

  /** A repository to read from. */
  source(repository: string): Promise<Target> {
    return this.#opened(repository, this.#options.registry);
  }

  /** Closes every repository and connection. */
  async close(): Promise<void> {
    const open = await Promise.allSettled(this.#open.values());
    await awaitAll(open.map((one) => (one.status === 'fulfilled' ? one.value.close?.() : undefined)));
    await this.#connections.close();
  }

  #opened(repository: string, options: OpenOptions): Promise<Target> {
    const reference = parseRepository(repository);
    const key = JSON.stringify([formatReference(reference), options.username ?? '']);
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const opening = openTarget(reference, { ...options, shared: this.#connections }).catch((error: unknown) => {
      if (this.#options.dryRun && asAccelError(error).code === 'not-found') {
        return new MemoryTarget(formatReference(reference));
      }
      // Another image may have more luck.
      this.#open.delete(key);
      throw error;
    });
    this.#open.set(key, opening);
    return opening;
  }
}
