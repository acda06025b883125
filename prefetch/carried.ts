/** Reads the acceleration layer of an image. */
import { AccelError, withPlace } from '../base/error.ts';
import { unpackAccelerationLayer } from '../formats/prefetch/acceleration-layer.ts';
import { decodePrefetch, type PrefetchContent } from '../formats/prefetch/reader.ts';
import { fetchBytes } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Fetcher, ReadOptions } from '../oci/storage.ts';
import { layerKindOf } from '../reader/stack.ts';

/** An acceleration layer, read and understood. */
export interface CarriedPrefetch {
  readonly descriptor: Descriptor;
  /** The file as it is in the layer. */
  readonly trace: Uint8Array;
  readonly content: PrefetchContent;
  /** Digest of the uncompressed tar, for `rootfs.diff_ids`. */
  readonly diffId: string;
}

/** Bytes of an acceleration layer's blob that are read. */
const MAX_BLOB = 32 << 20;

/**
 * Reads the acceleration layer of a manifest; undefined when it has none. Only the topmost layer is one to a node.
 * Throws `prefetch-invalid` for a layer that a node would not understand.
 */
export async function readCarriedPrefetch(
  fetcher: Fetcher,
  layers: readonly Descriptor[],
  options: ReadOptions = {},
): Promise<CarriedPrefetch | undefined> {
  const descriptor = layers.at(-1);
  if (descriptor === undefined || layerKindOf(descriptor) !== 'acceleration') return undefined;
  try {
    const blob = await fetchBytes(fetcher, descriptor, MAX_BLOB, options);
    const { trace, diffId } = await unpackAccelerationLayer(blob);
    if (trace.length === 0)
      throw new AccelError('prefetch-invalid', 'the file of the acceleration layer is empty', { found: 0 });
    return { descriptor, trace, content: decodePrefetch(trace), diffId };
  } catch (error) {
    throw withPlace(error, { layer: layers.length, digest: descriptor.digest });
  }
}
