/** Opens layers as one block device, with or without an image around them. */
import { withPlace } from '../base/error.ts';
import { IS_ACCELERATION_LAYER, LAYER_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Target } from '../oci/storage.ts';
import { BlockCache } from './block-cache.ts';
import { LayeredDevice, placeOf, type StackedDevice } from './block-device.ts';
import { openFullLayer } from './full-layer.ts';
import { openIndexOnlyLayer } from './index-only-layer.ts';
import type { LayerKind, StackLayer } from './layer.ts';
import type { OpenContext } from './open-context.ts';
import { type RangeListener, Traffic } from './traffic.ts';

/** Options for reading layers; all are optional. */
export interface OpenStackOptions {
  /** Ends every read under way and every later one. */
  readonly signal?: AbortSignal | undefined;
  /** Bytes of decompressed blocks that are kept; 64 MiB unless given. */
  readonly cacheBytes?: number;
  /** Requests under way at a time; 4 unless given. */
  readonly parallel?: number;
  /**
   * Whether to fetch the blobs of index-only layers whole and check their digests; otherwise only what is needed of large
   * ones comes, and its own checksums are checked.
   */
  readonly checksDigests?: boolean;
  /** Called for each part of a blob that is fetched. */
  readonly onRange?: RangeListener;
}

const DEFAULT_CACHE = 64 << 20;
const DEFAULT_PARALLEL = 4;

/** A way to the target with a cache of its own. */
export function openContext(target: Target, options: OpenStackOptions): OpenContext {
  const { signal, onRange, parallel = DEFAULT_PARALLEL } = options;
  const traffic = new Traffic(target, { signal, onRange, parallel });
  const cache = new BlockCache(options.cacheBytes ?? DEFAULT_CACHE);
  return { traffic, cache, checksDigests: options.checksDigests === true };
}

/**
 * The block device of accelerated layers, lowest first. Throws what the formats throw, with the layer and its digest.
 */
export async function openStack(
  target: Target,
  layers: readonly Descriptor[],
  options: OpenStackOptions = {},
): Promise<StackedDevice> {
  const opened = await openLayers(layers, openContext(target, options));
  return new LayeredDevice(opened.filter((layer) => layer !== undefined));
}

/** The kind of a layer by its annotations; undefined for an ordinary layer. */
export function layerKindOf({ annotations = {} }: Descriptor): LayerKind | undefined {
  if (annotations[LAYER_ANNOTATION.accelerationLayer] === IS_ACCELERATION_LAYER) return 'acceleration';
  if (annotations[LAYER_ANNOTATION.targetDigest] !== undefined) return 'index-only';
  return annotations[LAYER_ANNOTATION.blobDigest] === undefined ? undefined : 'full';
}

/** Opens the layers of the block device; an acceleration layer is undefined in the result. */
export async function openLayers(
  layers: readonly Descriptor[],
  context: OpenContext,
): Promise<(StackLayer | undefined)[]> {
  const top = layers.findLastIndex((layer) => layerKindOf(layer) !== 'acceleration');
  return Promise.all(
    layers.map(async (descriptor, index) => {
      const kind = layerKindOf(descriptor);
      if (kind === 'acceleration') return undefined;
      try {
        if (kind === 'index-only') return await openIndexOnlyLayer(index, descriptor, context);
        return await openFullLayer(index, descriptor, context, index === top);
      } catch (error) {
        throw withPlace(error, placeOf({ index, descriptor }));
      }
    }),
  );
}
