/** Loads the documents of an image by descriptor: bounded, verified against the digest, and parsed. */
import { AccelError } from '../base/error.ts';
import { type ImageConfig, MAX_CONFIG_SIZE, parseConfig, sniffConfig } from './config.ts';
import { fetchBytes } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import {
  type ImageDocument,
  type ImageIndex,
  type ImageManifest,
  MAX_MANIFEST_SIZE,
  parseDocument,
  parseIndex,
  parseManifest,
} from './manifest.ts';
import { isConfig, isLayer } from './media-types.ts';
import { canFetchNamed } from './powers.ts';
import type { Fetcher, ReadOptions, Resolver } from './storage.ts';

/** Prefix of vendor media types, which identify their content; others, such as application/octet-stream, do not. */
const VENDOR_TREE = 'application/vnd.';

/** A manifest or index with the descriptor that led to it. */
export interface NamedDocument {
  readonly descriptor: Descriptor;
  readonly document: ImageDocument;
}

/** Loads a manifest or an index. Throws `not-found` and what {@link parseDocument} throws. */
export async function loadDocument(
  fetcher: Fetcher,
  descriptor: Descriptor,
  options?: ReadOptions,
): Promise<ImageDocument> {
  return parseDocument(await fetchBytes(fetcher, descriptor, MAX_MANIFEST_SIZE, options), descriptor);
}

/** {@link loadDocument} for a place where only a manifest makes sense. */
export async function loadManifest(
  fetcher: Fetcher,
  descriptor: Descriptor,
  options?: ReadOptions,
): Promise<ImageManifest> {
  return parseManifest(await fetchBytes(fetcher, descriptor, MAX_MANIFEST_SIZE, options), descriptor);
}

/** {@link loadDocument} for a place where only an index makes sense. */
export async function loadIndex(fetcher: Fetcher, descriptor: Descriptor, options?: ReadOptions): Promise<ImageIndex> {
  return parseIndex(await fetchBytes(fetcher, descriptor, MAX_MANIFEST_SIZE, options), descriptor);
}

/** Loads the document that a tag or digest names, in one request if the target supports that. Throws `not-found`. */
export async function resolveDocument(
  place: Fetcher & Resolver,
  tagOrDigest: string,
  options?: ReadOptions,
): Promise<NamedDocument> {
  if (canFetchNamed(place)) {
    const { descriptor, bytes } = await place.fetchNamed(tagOrDigest, options);
    return { descriptor, document: parseDocument(bytes, descriptor) };
  }
  const descriptor = await place.resolve(tagOrDigest, options);
  return { descriptor, document: await loadDocument(place, descriptor, options) };
}

/** {@link resolveDocument}; undefined where the name, or what it refers to, does not exist. */
export async function findDocument(
  place: Fetcher & Resolver,
  tagOrDigest: string,
  options?: ReadOptions,
): Promise<NamedDocument | undefined> {
  return unlessMissing(() => resolveDocument(place, tagOrDigest, options));
}

/** Loads the config of an image, whatever its media type. */
export async function loadConfig(
  fetcher: Fetcher,
  descriptor: Descriptor,
  options?: ReadOptions,
): Promise<ImageConfig> {
  return parseConfig(await fetchBytes(fetcher, descriptor, MAX_CONFIG_SIZE, options), descriptor);
}

/**
 * Loads the config of a manifest if that is one of a container image; undefined for an artifact. The media type
 * decides. If it is generic, the content does: old registries have application/octet-stream or text/html there.
 */
export async function loadImageConfig(
  fetcher: Fetcher,
  { artifactType, config, layers }: ImageManifest,
  options?: ReadOptions,
): Promise<ImageConfig | undefined> {
  if (isConfig(config.mediaType)) return loadConfig(fetcher, config, options);
  const mayBeImage =
    artifactType === undefined &&
    !config.mediaType.startsWith(VENDOR_TREE) &&
    config.size <= MAX_CONFIG_SIZE &&
    layers.length > 0 &&
    layers.every(({ mediaType }) => isLayer(mediaType));
  if (!mayBeImage) return undefined;
  return sniffConfig(await fetchBytes(fetcher, config, MAX_CONFIG_SIZE, options), config, layers.length);
}

/** Returns the result of `load`, or undefined if it fails with `not-found`. */
export async function unlessMissing<T>(load: () => Promise<T>): Promise<T | undefined> {
  try {
    return await load();
  } catch (error) {
    if (error instanceof AccelError && error.code === 'not-found') return undefined;
    throw error;
  }
}
