/** Copies content between targets in the cheapest way that both support. */

import type { BlobSource } from '../base/byte-source.ts';
import type { Descriptor } from './descriptor.ts';
import { isManifestContent } from './media-types.ts';
import { canMount, inRegistry } from './powers.ts';
import type { Fetcher, ReadOptions, Target } from './storage.ts';

/** Options of {@link copyContent}. */
export interface CopyOptions extends ReadOptions {
  /**
   * Repository of the target's registry that holds the blob; omitted: that of `from`, if it is of the same registry. A
   * registry that does not mount it from there gets the bytes.
   */
  readonly mountFrom?: string | undefined;
}

/** Ensures that one piece of content exists in `to`: it exists already, is mounted, or is copied and verified. */
export async function copyContent(
  from: Fetcher,
  to: Target,
  descriptor: Descriptor,
  options: CopyOptions = {},
): Promise<'existed' | 'mounted' | 'pushed'> {
  const { signal } = options;
  const mountFrom = options.mountFrom ?? sharedRegistry(from, to);
  // Manifests cannot be mounted; they are small.
  if (mountFrom !== undefined && canMount(to) && !isManifestContent(descriptor.mediaType)) {
    if (await to.exists(descriptor, { signal })) return 'existed';
    if (await to.mount(descriptor, mountFrom, { signal })) return 'mounted';
  }
  const source: BlobSource = {
    async *open() {
      yield* await from.fetch(descriptor, { signal });
    },
  };
  return to.push(descriptor, source, { signal });
}

/** The repository of `from`, if it is another one of the registry of `to`. */
function sharedRegistry(from: Fetcher, to: Target): string | undefined {
  const [source, target] = [inRegistry(from), inRegistry(to)];
  if (source === undefined || source.registry !== target?.registry) return undefined;
  return source.repository === target.repository ? undefined : source.repository;
}
