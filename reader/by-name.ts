/** The reading side by the name of an image, as a user types it: what the library and the commands start from. */
import type { RegistryOptions } from '../oci/registry/options.ts';
import type { Target } from '../oci/storage.ts';
import { type ImageFiles, openFiles } from './files.ts';
import { type AcceleratedImage, openImage as openImageIn } from './image.ts';
import { type InspectReport, inspectReference } from './inspect.ts';
import { openReference } from './reference.ts';
import type { VerifyProgress } from './verify/report.ts';
import { type VerifyResult, verifyReference } from './verify-reference.ts';

/** How a name leads to its image. */
export interface NameOptions {
  /** How to reach registries; without it the docker config and the process's environment are asked. */
  readonly registry?: RegistryOptions;
  readonly signal?: AbortSignal;
}

/** An answer with the name that it is about: the reference with the tag that was meant. */
export type Named<T> = T & { readonly reference: string };

/**
 * Tells what an image is, accelerated or not, without reading it: mode, layers, sizes, its base; what conversion would
 * make of an ordinary one. `reference` is `host[:port]/repo[:tag][@digest]`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` or
 * `docker-archive:FILE[:TAG]`. Throws `reference-invalid`, `not-found`, and what the registry answers.
 */
export async function inspect(reference: string, options: NameOptions = {}): Promise<Named<InspectReport>> {
  const opened = await openReference(reference, options.registry);
  try {
    return { reference: opened.name, ...(await inspectReference(opened.target, opened.tagOrDigest, options)) };
  } finally {
    await opened.close();
  }
}

/** What to verify against, and how closely. */
export interface VerifyOptions extends NameOptions {
  /** Reference of the source image; omitted: what the accelerated image records, in its own repository. */
  readonly source?: string | undefined;
  /** Platforms of an index as `os/arch[/variant]`; omitted or empty: all. */
  readonly platforms?: readonly string[];
  /** Bytes that a source layer may have, as a blob and uncompressed; omitted: 256 GiB. */
  readonly maxLayerSize?: number;
  /** Leave content alone. */
  readonly quick?: boolean;
  readonly onProgress?: (platform: string, progress: VerifyProgress) => void;
}

/**
 * Reads an accelerated image back as a node does and compares every path, byte and attribute with what its source's layers
 * say. Differences are told in the result and not thrown. Throws `not-found` when the source is gone, `usage` when it
 * cannot be known, and what the formats throw of an image that cannot be read at all.
 */
export async function verify(reference: string, options: VerifyOptions = {}): Promise<Named<VerifyResult>> {
  const { registry, platforms = [], quick = false, maxLayerSize, onProgress, signal } = options;
  const accelerated = await openReference(reference, registry);
  try {
    const source = options.source === undefined ? undefined : await openReference(options.source, registry);
    try {
      const progress = {
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(maxLayerSize === undefined ? {} : { maxLayerSize }),
      };
      const result = await verifyReference({ accelerated, source, platforms, quick, signal, ...progress });
      return { reference: accelerated.name, ...result };
    } finally {
      await source?.close();
    }
  } finally {
    await accelerated.close();
  }
}

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
