/** Opens the target that a reference names. */

import { openLayout } from './layout-target.ts';
import { openArchive } from './open-archive.ts';
import type { Reference } from './reference.ts';
import type { RegistryOptions } from './registry/registry-options.ts';
import type { Target } from './storage.ts';

/** Options of {@link openTarget}: those of a registry, and whether a missing layout or archive is made. */
export interface OpenOptions extends RegistryOptions {
  /** Create an empty layout or oci-archive if it does not exist. */
  readonly create?: boolean;
}

/**
 * Opens the repository, layout or archive of a reference; its tag and digest are ignored. A layout is read at once
 * (throws `not-found` or `layout-invalid`), a registry receives its first request by the first call.
 */
export async function openTarget(reference: Reference, options: OpenOptions = {}): Promise<Target> {
  if (reference.kind === 'layout') return openLayout(reference.directory, { create: options.create ?? false });
  if (reference.kind === 'archive') {
    return openArchive(reference.file, reference.format, { create: options.create ?? false });
  }
  // The HTTP client takes tens of milliseconds to load, which work on a layout need not spend.
  const { openRegistry } = await import('./registry/registry-target.ts');
  return openRegistry(reference, options);
}
