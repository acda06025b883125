/** Opens an accelerated image by its name, as a user types it. */
import type { RegistryOptions } from '../oci/registry/registry-options.ts';
import type { Target } from '../oci/storage.ts';
import { type AcceleratedImage, openImage as openImageIn } from './accelerated-image.ts';
import { type ImageFiles, openFiles } from './files.ts';
import { openReference } from './open-reference.ts';

/** How a name leads to its image. */
export interface NameOptions {
  /** How to reach registries; without it the docker config and the process's environment are asked. */
  readonly registry?: RegistryOptions;
  readonly signal?: AbortSignal;
}

/** An answer with the name that it is about: the reference with the tag that was meant. */
export type Named<T> = T & { readonly reference: string };

/** Which image of an index to open. */
export interface OpenOptions extends NameOptions {
  /** `os/architecture[/variant]`; the only one or this machine's unless given. */
  readonly platform?: string | undefined;
}

/** An accelerated image that is open: its device, its files, and how to let go of it. */
export interface OpenedImage extends AcceleratedImage {
  readonly files: ImageFiles;
  /** Where the image stands. */
  readonly target: Target;
  /** Ends the connections to the registry. */
  close(): Promise<void>;
}

/**
 * Opens an accelerated image in place: its indexes are read, and afterwards only what is asked for. Close it in the end.
 * Throws `not-found`, `image-unsupported` for an ordinary image, and what the formats throw.
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
