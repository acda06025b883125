/**
 * Sorts the entries of an index into images with their platform, and others with the reason why they are not images.
 */
import { awaitAll, Limiter } from '../base/limiter.ts';
import type { Descriptor } from './descriptor.ts';
import { loadImageConfig, loadManifest, unlessMissing } from './document.ts';
import { indexEntries } from './index-entries.ts';
import type { ImageIndex, ImageManifest } from './manifest.ts';
import { isIndex, isManifest } from './media-types.ts';
import { formatPlatform, imagePlatform, normalizePlatform, type Platform } from './platform.ts';
import type { Fetcher, ReadOptions } from './storage.ts';

/** An entry that is an image. */
export interface ListedImage extends Descriptor {
  /** By the index; fields that it leaves out are taken from the image's config. */
  readonly platform: Platform;
}

/** An entry that is left out. */
export interface OtherEntry {
  readonly descriptor: Descriptor;
  /** `os/architecture[/variant]`, `unknown` for fields that are not given. */
  readonly platform: string;
  readonly reason: string;
  /** True for an entry whose content is not where the index is. */
  readonly missing: boolean;
}

/** All entries of an index, in its order. */
export interface IndexImages {
  readonly images: readonly ListedImage[];
  readonly others: readonly OtherEntry[];
}

/** Manifests that are read at a time. */
const PARALLEL = 8;

/** The reason for an entry whose content is missing. */
export const NOT_HERE = 'its content is not here';

/**
 * Sorts the entries of an index and of the indexes inside of it. Only entries without a platform cost requests: their
 * manifest and config are read. Throws `limit-exceeded`, `manifest-invalid` and what the fetcher throws.
 */
export async function indexImages(fetcher: Fetcher, index: ImageIndex, options: ReadOptions): Promise<IndexImages> {
  const limiter = new Limiter(PARALLEL);
  const entries = await indexEntries(fetcher, index, options);
  const sorted = await awaitAll(entries.map((entry) => limiter.run(() => sortEntry(fetcher, entry, options))));
  return {
    images: sorted.filter((entry) => !('reason' in entry)) as ListedImage[],
    others: sorted.filter((entry) => 'reason' in entry) as OtherEntry[],
  };
}

/** The reason why a manifest is not a container image. */
export function artifactReason({ artifactType, config }: ImageManifest): string {
  return `not an image but ${artifactType ?? config.mediaType}`;
}

/** The record of an entry that is left out. */
export function otherEntry(descriptor: Descriptor, reason: string): OtherEntry {
  return { descriptor, platform: formatPlatform(descriptor.platform ?? {}), reason, missing: reason === NOT_HERE };
}

async function sortEntry(fetcher: Fetcher, entry: Descriptor, options: ReadOptions): Promise<ListedImage | OtherEntry> {
  const { mediaType, artifactType, annotations, platform = {} } = entry;
  if (annotations?.['vnd.docker.reference.type'] !== undefined)
    return otherEntry(entry, 'an attestation, which stays with the source');
  // Indexes for Linux that exist here were already replaced by their entries.
  if (isIndex(mediaType) && artifactType === undefined)
    return otherEntry(entry, platform.os && normalizePlatform(platform).os !== 'linux' ? 'not for Linux' : NOT_HERE);
  // The content of an entry without a media type decides, once it is read.
  if (artifactType !== undefined || !(isManifest(mediaType) || mediaType === ''))
    return otherEntry(entry, `not an image but ${artifactType ?? mediaType}`);
  const { os = 'linux' } = normalizePlatform(platform);
  if (os === 'unknown') return otherEntry(entry, 'its platform is unknown');
  if (platform.os && platform.architecture) return { ...entry, platform };
  return (await unlessMissing(() => platformByConfig(fetcher, entry, options))) ?? otherEntry(entry, NOT_HERE);
}

async function platformByConfig(
  fetcher: Fetcher,
  entry: Descriptor,
  options: ReadOptions,
): Promise<ListedImage | OtherEntry> {
  const manifest = await loadManifest(fetcher, entry, options);
  const config = await loadImageConfig(fetcher, manifest, options);
  if (config === undefined) return otherEntry(entry, artifactReason(manifest));
  return { ...entry, platform: imagePlatform(entry.platform, config) };
}
