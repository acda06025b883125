/** Opens an accelerated image by its name, as a user types it. */
import type { RegistryOptions } from '../oci/registry/registry-options.ts';
import type { Target } from '../oci/storage.ts';
import { type AcceleratedImage, openImage as openImageIn } from './accelerated-image.ts';
import { type ImageFiles, openFiles } from './files.ts';
import { openReference } from './open-reference.ts';

/** Options for resolving a name. */
export interface NameOptions {
  /** Options for registries; by default the docker config and the process's environment are used. */
  readonly registry?: RegistryOptions;
  readonly signal?: AbortSignal;
}

/** A result with the name that it is about: the reference with the tag in use. */
export type Named<T> = T & { readonly reference: string };

/** Options of {@link openImage}. */
export interface OpenOptions extends NameOptions {
  /** `os/architecture[/variant]`; the only one or this machine's unless given. */
  readonly platform?: string | undefined;
}

/** An open accelerated image: its device and its files. */
export interface OpenedImage extends AcceleratedImage {
  readonly files: ImageFiles;
  /** The target of the image. */
  readonly target: Target;
  /** Ends the connections to the registry. */
  close(): Promise<void>;
}

/**
 * Opens an accelerated image in place: its indexes are read, and afterwards only what is asked for. Close it in the
 * end. Throws `not-found`, `image-unsupported` for an ordinary image, and what the formats throw.
 */
export async function openImage(reference: string, options: OpenOptions = {}): Promise<OpenedImage> {
  const { target, tagOrDigest, close } = await openReference(reference, options.registry);
  try {
    const image = await openImageIn(target, tagOrDigest, { platform: options.platform, signal: options.signal });
    return { ...image, files: await openFiles(image), target, close };
  } catch (error) {
    await close();
    throw error;
  }
}
