/** What an image is, told from its documents and the ends of its layers, without reading it. */
import { asAccelError } from '../base/error.ts';
import { RECORD_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { TAG_SUFFIXES } from '../formats/overlaybd/tag-suffixes.ts';
import { fetchBytes } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { loadDocument } from '../oci/document.ts';
import { MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE, parseConfig, parseManifest } from '../oci/manifest.ts';
import { isConfig } from '../oci/media-types.ts';
import { formatPlatform } from '../oci/platform.ts';
import type { ReadOptions, Target } from '../oci/storage.ts';
import { isImage } from '../reader/select-image.ts';
import { layerKindOf } from '../reader/stack.ts';
import { inspectAccelerated, sizeOf } from './accelerated.ts';
import type { ImageFacts, InspectReport } from './facts.ts';
import { ordinaryLayers } from './ordinary.ts';

export type * from './facts.ts';

/**
 * Describes what a tag or digest names. Throws `not-found`, `manifest-invalid` and what the target throws; layers that do
 * not open are told in the report.
 */
export async function inspectReference(
  target: Target,
  tagOrDigest: string,
  options: ReadOptions = {},
): Promise<InspectReport> {
  const { descriptor: named, document } = await loadDocument(target, tagOrDigest, options);
  const members = document.kind === 'index' ? document.index.manifests : [named];
  const chosen = document.kind === 'index' ? members.filter(isImage) : members;
  const images: ImageFacts[] = [];
  for (const member of chosen) images.push(await inspectImage(target, member, options));
  const { annotations } = document.kind === 'index' ? document.index : document.manifest;
  const sourceDigest = annotations?.[RECORD_ANNOTATION.sourceDigest];
  const accelerated = images.some((image) => image.accelerated);
  const baseTag = accelerated ? await findBaseTag(target, tagOrDigest, sourceDigest, options) : undefined;
  return {
    digest: named.digest,
    mediaType: named.mediaType,
    accelerated,
    images,
    others: members
      .filter((member) => !chosen.includes(member))
      .map(({ digest, mediaType, platform }) => ({ digest, mediaType, platform: formatPlatform(platform ?? {}) })),
    ...(sourceDigest === undefined ? {} : { sourceDigest }),
    ...(baseTag === undefined ? {} : { baseTag }),
  };
}

async function inspectImage(target: Target, descriptor: Descriptor, options: ReadOptions): Promise<ImageFacts> {
  const manifest = parseManifest(await fetchBytes(target, descriptor, MAX_MANIFEST_SIZE, options), descriptor);
  const platform = await platformOf(target, manifest.config, descriptor, options);
  if (manifest.layers.some((layer) => layerKindOf(layer) !== undefined))
    return inspectAccelerated(target, descriptor, manifest, platform, options);
  return {
    accelerated: false,
    platform,
    digest: descriptor.digest,
    size: sizeOf(manifest),
    layers: await ordinaryLayers(target, manifest, options),
  };
}

/** By the config, as runtimes take it; an artifact has none. */
async function platformOf(
  target: Target,
  config: Descriptor,
  descriptor: Descriptor,
  options: ReadOptions,
): Promise<string> {
  if (!isConfig(config.mediaType)) return formatPlatform(descriptor.platform ?? {});
  const { os, architecture, variant } = parseConfig(await fetchBytes(target, config, MAX_CONFIG_SIZE, options), config);
  return formatPlatform({
    ...(os === undefined ? {} : { os }),
    ...(architecture === undefined ? {} : { architecture }),
    ...(variant === undefined ? {} : { variant }),
  });
}

/** The tag that was converted, as far as the name of the accelerated one tells. */
async function findBaseTag(
  target: Target,
  tag: string,
  sourceDigest: string | undefined,
  options: ReadOptions,
): Promise<InspectReport['baseTag']> {
  const suffix = TAG_SUFFIXES.find((candidate) => tag.endsWith(candidate) && tag.length > candidate.length);
  if (suffix === undefined || tag.includes(':')) return undefined;
  const base = tag.slice(0, -suffix.length);
  try {
    const { digest } = await target.resolve(base, options);
    return { tag: base, digest, matches: digest === sourceDigest };
  } catch (error) {
    if (asAccelError(error).code !== 'not-found') throw error;
    return { tag: base, matches: false };
  }
}
