/** Describes an accelerated image: its layers, and its relation to the base image. */
import { asAccelError } from '../base/error.ts';
import { RECORD_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { loadManifest } from '../oci/document.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import type { ReadOptions, Target } from '../oci/storage.ts';
import { readCarriedPrefetch } from '../prefetch/carried.ts';
import { openImage } from '../reader/accelerated-image.ts';
import type { OpenedLayer } from '../reader/layer.ts';
import { pieceListOf } from '../reader/layer-piece-list.ts';
import { layerKindOf } from '../reader/stack.ts';
import { startupSizeOf } from '../reader/startup-size.ts';
import type { AcceleratedFacts, AcceleratedLayerFacts, AccelerationFacts, BaseFacts } from './facts.ts';

/** A manifest, its descriptor and its platform as `os/architecture[/variant]`. */
export interface ImageDocuments {
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly platform: string;
}

/** Opens the image and describes it. If it cannot be opened, describes its manifest and reports the reason. */
export async function inspectAccelerated(
  target: Target,
  { descriptor, manifest, platform }: ImageDocuments,
  options: ReadOptions,
): Promise<AcceleratedFacts> {
  const opened = await openLayers(target, descriptor, options);
  const prefetch = await prefetchOf(target, manifest, options);
  const problem = opened.problem ?? prefetch.problem;
  const size = sizeOf(manifest);
  const base = await baseOf(target, manifest, options);
  const { [RECORD_ANNOTATION.version]: version, [RECORD_ANNOTATION.options]: choices } = manifest.annotations ?? {};
  const virtualSize = opened.layers?.find((layer) => layer.lsmt !== undefined)?.lsmt?.virtualSize;
  return {
    accelerated: true,
    platform,
    digest: descriptor.digest,
    size,
    mode: modeOf(manifest),
    ...(virtualSize === undefined ? {} : { virtualSize }),
    layers: await Promise.all(
      manifest.layers.map((layer, i) => layerFacts(target, layer, opened.layers?.[i], options)),
    ),
    ...(base === undefined ? {} : { base }),
    ...(base?.size === undefined || base.size === 0 ? {} : { ratio: size / base.size }),
    ...(version === undefined ? {} : { accelVersion: version }),
    ...(choices === undefined ? {} : { options: choices }),
    ...(manifest.annotations?.[RECORD_ANNOTATION.layout] === 'startup' ? { layout: 'startup' } : {}),
    ...(prefetch.facts === undefined ? {} : { prefetch: prefetch.facts }),
    ...(problem === undefined ? {} : { problem }),
  };
}

/** Bytes of config and layers. */
export function sizeOf({ config, layers }: ImageManifest): number {
  return layers.reduce((sum, layer) => sum + layer.size, config.size);
}

function modeOf({ layers }: ImageManifest): AcceleratedFacts['mode'] {
  const kinds = new Set(layers.map(layerKindOf).filter((kind) => kind !== 'acceleration'));
  if (!kinds.has('index-only')) return 'full';
  return kinds.size === 1 ? 'index-only' : 'mixed';
}

async function openLayers(
  target: Target,
  { digest }: Descriptor,
  options: ReadOptions,
): Promise<{ readonly layers?: readonly OpenedLayer[]; readonly problem?: string }> {
  try {
    return { layers: (await openImage(target, digest, options)).layers };
  } catch (error) {
    return { problem: problemOf(error) };
  }
}

async function prefetchOf(
  target: Target,
  { layers }: ImageManifest,
  options: ReadOptions,
): Promise<{ readonly facts?: AccelerationFacts; readonly problem?: string }> {
  try {
    const carried = await readCarriedPrefetch(target, layers, options);
    if (carried === undefined) return {};
    const { content } = carried;
    if (content.form === 'trace') return { facts: { form: 'trace', entries: content.reads.length, skipped: 0 } };
    const { kept, skipped } = content.list;
    return { facts: { form: 'list', entries: kept.length, skipped: skipped.length } };
  } catch (error) {
    return { problem: problemOf(error) };
  }
}

/** The error of a damaged image as text; rethrows errors that are not about the image. */
function problemOf(error: unknown): string {
  const known = asAccelError(error);
  if (known.code === 'aborted' || known.code === 'unauthorized') throw error;
  const place = Object.entries(known.where).map(([key, value]) => `${key} ${value}`);
  return [known.message, ...place].join(', ');
}

async function layerFacts(
  target: Target,
  descriptor: Descriptor,
  opened: OpenedLayer | undefined,
  options: ReadOptions,
): Promise<AcceleratedLayerFacts> {
  const { digest, mediaType, size } = descriptor;
  const { segments, algorithm, blockSize, source, gzipIndex } = opened ?? {};
  const list = pieceListOf(descriptor);
  const startupSize = startupSizeOf(descriptor);
  return {
    kind: layerKindOf(descriptor) ?? 'full',
    digest,
    mediaType,
    size,
    ...(segments === undefined ? {} : { segments }),
    ...(algorithm === undefined ? {} : { algorithm }),
    ...(blockSize === undefined ? {} : { blockSize }),
    ...(source === undefined
      ? {}
      : { source: { digest: source.digest, present: await target.exists(source, options) } }),
    ...(startupSize === 0 ? {} : { startupSize }),
    ...(gzipIndex === undefined ? {} : { accessPoints: gzipIndex.points.length }),
    ...(list === undefined ? {} : { pieceList: { digest: list.digest, present: await target.exists(list, options) } }),
  };
}

async function baseOf(
  target: Target,
  { annotations }: ImageManifest,
  options: ReadOptions,
): Promise<BaseFacts | undefined> {
  const digest = annotations?.[RECORD_ANNOTATION.sourceDigest];
  if (digest === undefined) return undefined;
  try {
    const descriptor = await target.resolve(digest, options);
    const manifest = await loadManifest(target, descriptor, options);
    return { digest, present: true, size: sizeOf(manifest) };
  } catch (error) {
    if (asAccelError(error).code !== 'not-found') throw error;
    return { digest, present: false };
  }
}
