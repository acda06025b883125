/** Describes an image by its documents and the ends of its layers, without reading it. */
import { asAccelError } from '../base/error.ts';
import { RECORD_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { TAG_SUFFIXES } from '../formats/overlaybd/tag-suffixes.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isDigestLike } from '../oci/digest.ts';
import { loadImageConfig, loadManifest, resolveDocument, unlessMissing } from '../oci/document.ts';
import { artifactReason, indexImages, NOT_HERE, type OtherEntry, otherEntry } from '../oci/index-images.ts';
import { formatPlatform, imagePlatform } from '../oci/platform.ts';
import type { ReadOptions, Target } from '../oci/storage.ts';
import { layerKindOf } from '../reader/stack.ts';
import { inspectAccelerated, sizeOf } from './accelerated.ts';
import { artifactOf } from './artifact.ts';
import { checkReport } from './check.ts';
import type { ImageFacts, InspectReport } from './facts.ts';
import { referrersOf } from './find-referrers.ts';
import { ordinaryLayers } from './ordinary.ts';

export type * from './facts.ts';

/** Options of {@link inspectReference}. */
export interface InspectOptions extends ReadOptions {
  /** Also look for missing content, with a request for each blob. */
  readonly check?: boolean;
  /** Also list what refers to the image and to its source, with some requests for each manifest. */
  readonly referrers?: boolean;
}

/**
 * Describes what a tag or digest names. Throws `not-found`, `manifest-invalid` and what the target throws; layers that
 * cannot be opened are part of the report.
 */
export async function inspectReference(
  target: Target,
  tagOrDigest: string,
  { check, referrers, ...options }: InspectOptions = {},
): Promise<InspectReport> {
  const report = await describeReference(target, tagOrDigest, options);
  return {
    ...report,
    ...(referrers === true ? { referrers: await referrersOf(target, report, options) } : {}),
    ...(check === true ? { check: await checkReport(target, report, options) } : {}),
  };
}

async function describeReference(target: Target, tagOrDigest: string, options: ReadOptions): Promise<InspectReport> {
  const { descriptor: named, document } = await resolveDocument(target, tagOrDigest, options);
  const isIndex = document.kind === 'index';
  const artifact = document.kind === 'index' ? undefined : await artifactOf(target, document.manifest, options);
  const { digest, mediaType } = named;
  if (artifact !== undefined) return { digest, mediaType, accelerated: false, images: [], others: [], artifact };
  const listed = isIndex ? await indexImages(target, document.index, options) : { images: [named], others: [] };
  const images: ImageFacts[] = [];
  const others: OtherEntry[] = [...listed.others];
  for (const entry of listed.images) {
    const found = await inspectEntry(target, entry, isIndex, options);
    if ('reason' in found) others.push(found);
    else images.push(found);
  }
  const { annotations } = isIndex ? document.index : document.manifest;
  const sourceDigest = annotations?.[RECORD_ANNOTATION.sourceDigest];
  const accelerated = images.some((image) => image.accelerated);
  const baseTag = accelerated ? await findBaseTag(target, tagOrDigest, sourceDigest, options) : undefined;
  return {
    digest: named.digest,
    mediaType: named.mediaType,
    accelerated,
    images,
    others: others.map(({ descriptor: { digest, mediaType }, platform, reason, missing }) => ({
      digest,
      mediaType,
      platform,
      reason,
      missing,
    })),
    ...(sourceDigest === undefined ? {} : { sourceDigest }),
    ...(baseTag === undefined ? {} : { baseTag }),
  };
}

/** Inspects one image. An entry of an index that is missing or not an image is returned as such. */
async function inspectEntry(
  target: Target,
  entry: Descriptor,
  isListed: boolean,
  options: ReadOptions,
): Promise<ImageFacts | OtherEntry> {
  const inspect = () => inspectImage(target, entry, isListed, options);
  if (!isListed) return inspect();
  return (await unlessMissing(inspect)) ?? otherEntry(entry, NOT_HERE);
}

async function inspectImage(
  target: Target,
  descriptor: Descriptor,
  isListed: boolean,
  options: ReadOptions,
): Promise<ImageFacts | OtherEntry> {
  const manifest = await loadManifest(target, descriptor, options);
  const config = await loadImageConfig(target, manifest, options);
  if (config === undefined && isListed) return otherEntry(descriptor, artifactReason(manifest));
  const platform = formatPlatform(
    config === undefined ? (descriptor.platform ?? {}) : imagePlatform(descriptor.platform, config),
  );
  if (manifest.layers.some((layer) => layerKindOf(layer) !== undefined))
    return inspectAccelerated(target, { descriptor, manifest, platform }, options);
  return {
    accelerated: false,
    platform,
    digest: descriptor.digest,
    size: sizeOf(manifest),
    layers: await ordinaryLayers(target, manifest, options),
  };
}

/** The tag that was converted, by the name of the accelerated one. */
async function findBaseTag(
  target: Target,
  tag: string,
  sourceDigest: string | undefined,
  options: ReadOptions,
): Promise<InspectReport['baseTag']> {
  const suffix = TAG_SUFFIXES.find((candidate) => tag.endsWith(candidate) && tag.length > candidate.length);
  if (suffix === undefined || isDigestLike(tag)) return undefined;
  const base = tag.slice(0, -suffix.length);
  try {
    const { digest } = await target.resolve(base, options);
    return { tag: base, digest, matches: digest === sourceDigest };
  } catch (error) {
    if (asAccelError(error).code !== 'not-found') throw error;
    return { tag: base, matches: false };
  }
}
