/** Makes the acceleration layer of an image (docs/formats.md §7) from a prefetch list, adds it and removes it. */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import { IS_ACCELERATION_LAYER, LAYER_ANNOTATION, LAYER_VERSION } from '../../formats/overlaybd/annotations.ts';
import { packAccelerationLayer } from '../../formats/prefetch/acceleration-layer.ts';
import type { ImageConfig } from '../../oci/config.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import type { ImageManifest } from '../../oci/manifest.ts';
import { layerMediaType, type MediaFamily } from '../../oci/media-types.ts';
import { composePrefetch } from '../../prefetch/compose.ts';
import { nameOfLine, someOf } from '../../prefetch/lines.ts';
import { type ResolvedPrefetch, resolvePrefetch } from '../../prefetch/resolve-list.ts';
import type { StackedDevice } from '../../reader/block-device.ts';
import type { LayerKind } from '../../reader/layer.ts';
import { layerKindOf } from '../../reader/stack.ts';
import type { PrefetchResult } from '../options.ts';
import type { PrefetchList } from './prefetch-list.ts';

/** A layer that was made. */
export interface AccelerationLayer {
  readonly blob: Uint8Array;
  readonly diffId: string;
  readonly result: PrefetchResult;
}

/** Input of {@link makeAccelerationLayer}. */
export interface AccelerationSource {
  readonly list: PrefetchList;
  readonly resolved: ResolvedPrefetch;
  /** Maps blocks to the layers of the stack. */
  readonly device: Pick<StackedDevice, 'segments'>;
}

/** As the reference writes it into the history of an image. */
const HISTORY = 'Acceleration Layer';

/**
 * Resolves a list in the file system of a stack of layers and warns about its invalid lines. With `strict` a path that is not
 * in the image is a `not-found`.
 */
export async function resolveList(
  list: PrefetchList,
  device: StackedDevice,
  onWarning: (message: string) => void,
  signal?: AbortSignal,
): Promise<AccelerationSource> {
  const resolved = await resolvePrefetch(device, list.lines, signal);
  const missing = resolved.problems.filter((problem) => problem.missing);
  if (list.strict && missing.length > 0)
    throw new AccelError('not-found', 'the prefetch list names what is not in the image', {
      expected: 'paths of the image',
      found: someOf(missing.map(({ line }) => nameOfLine(line))),
      hint: advise`Correct the list, or leave ${option('prefetchStrict')} out.`,
    });
  for (const { line, reason } of resolved.problems) onWarning(`prefetch ${nameOfLine(line)}: ${reason}`);
  return { list, resolved, device };
}

/** The layer for a stack of layers of these kinds; undefined, after a warning, when there is nothing to prefetch. */
export async function makeAccelerationLayer(
  { list, resolved, device }: AccelerationSource,
  kinds: readonly LayerKind[],
  onWarning: (message: string) => void,
): Promise<AccelerationLayer | undefined> {
  const { composed, warnings } = composePrefetch(resolved, { device, kinds }, list.format);
  for (const warning of warnings) onWarning(`prefetch ${warning}`);
  if (composed === undefined) {
    onWarning('nothing of the prefetch list can be prefetched: the image gets no acceleration layer');
    return undefined;
  }
  const { blob, diffId } = await packAccelerationLayer(composed.content);
  const { files, bytes } = resolved;
  const { form, entries } = composed;
  return { blob, diffId, result: { form, files, bytes, entries, digest: digestOf(blob), size: blob.length } };
}

/** The descriptor of a layer in a manifest. */
export function accelerationDescriptor(
  { result: { digest, size } }: AccelerationLayer,
  family: MediaFamily,
): Descriptor {
  return {
    mediaType: layerMediaType(family, 'gzip'),
    digest,
    size,
    annotations: {
      [LAYER_ANNOTATION.blobDigest]: digest,
      [LAYER_ANNOTATION.blobSize]: String(size),
      [LAYER_ANNOTATION.version]: LAYER_VERSION.full,
      // The snapshotter reads the type of the file system below from the topmost layer.
      [LAYER_ANNOTATION.fsType]: 'ext4',
      [LAYER_ANNOTATION.accelerationLayer]: IS_ACCELERATION_LAYER,
    },
  };
}

/** A config with one more layer on top; its history step has the image's date, because accel reads no clock. */
export function withAcceleration(config: ImageConfig, { diffId }: AccelerationLayer): ImageConfig {
  const { rootfs, history, created } = config;
  const step = { ...(typeof created === 'string' ? { created } : {}), created_by: HISTORY };
  return {
    ...config,
    rootfs: { ...rootfs, diff_ids: [...rootfs.diff_ids, diffId] },
    ...(history ? { history: [...history, step] } : {}),
  };
}

/** Layers and config without acceleration layers, to which a new one can be added. */
export function withoutAcceleration(
  manifest: ImageManifest,
  config: ImageConfig,
): { readonly layers: readonly Descriptor[]; readonly config: ImageConfig } {
  const isFile = manifest.layers.map((layer) => layerKindOf(layer) !== 'acceleration');
  const removed = isFile.filter((is) => !is).length;
  if (removed === 0) return { layers: manifest.layers, config };
  let left = removed;
  // The reference puts its step first, accel last.
  const history = config.history?.filter((step) => step?.created_by !== HISTORY || left-- <= 0);
  return {
    layers: manifest.layers.filter((_, i) => isFile[i]),
    config: {
      ...config,
      rootfs: { ...config.rootfs, diff_ids: config.rootfs.diff_ids.filter((_, i) => isFile[i] !== false) },
      ...(history ? { history } : {}),
    },
  };
}
