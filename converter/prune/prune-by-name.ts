/** Prunes a repository by its name, as a user types it. */
import { openTarget } from '../../oci/open.ts';
import { formatReference, parseRepository } from '../../oci/reference.ts';
import type { RegistryOptions } from '../../oci/registry/registry-options.ts';
import type { Target } from '../../oci/storage.ts';
import { BaseFinder } from './find-bases.ts';
import { type PruneOptions, type PruneReport, pruneRepository } from './prune-repository.ts';

/** Choices for {@link pruneByName}. */
export interface PruneByNameOptions
  extends Pick<PruneOptions, 'dryRun' | 'olderThan' | 'keepLast' | 'concurrency' | 'onRemoved' | 'signal'> {
  readonly registry: RegistryOptions;
  /**
   * Repositories that the images were made from. Without any it is the repository itself, if a base of one of its accelerated images is
   * there; otherwise nothing is known of the bases.
   */
  readonly bases: readonly string[];
}

/** Prunes `host[:port]/name`. Throws what {@link pruneRepository} does, and `reference-invalid`. */
export async function pruneByName(repository: string, options: PruneByNameOptions): Promise<PruneReport> {
  const { registry, bases, signal, ...rest } = options;
  const open = (name: string): Promise<Target> => openTarget(parseRepository(name), registry);
  const sources = bases.map((name) => formatReference(parseRepository(name)));
  const target = await open(repository);
  const pace = async (): Promise<void> => signal.throwIfAborted();
  const isAssumed = sources.length === 0;
  const finder = new BaseFinder({
    ...{ target, isAssumed, open, pace, signal },
    sources: isAssumed ? [target.name] : sources,
  });
  try {
    return await pruneRepository({ ...rest, target, findBase: finder.find, pace, signal });
  } finally {
    await finder.close();
    await target.close?.();
  }
}
