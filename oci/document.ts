/** Reads what a tag or digest names: its descriptor and the parsed manifest or index. */
import { fetchBytes } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import { type ImageDocument, MAX_MANIFEST_SIZE, parseDocument } from './manifest.ts';
import { canFetchNamed } from './powers.ts';
import type { Fetcher, ReadOptions, Resolver } from './storage.ts';

/** A manifest or index and what it says. */
export interface NamedDocument {
  readonly descriptor: Descriptor;
  readonly document: ImageDocument;
}

/**
 * Reads and parses what a tag or digest names, in one request where the place can do that. Rejects with `not-found`,
 * and throws what {@link parseDocument} does.
 */
export async function loadDocument(
  place: Fetcher & Resolver,
  tagOrDigest: string,
  options?: ReadOptions,
): Promise<NamedDocument> {
  const { descriptor, bytes } = canFetchNamed(place)
    ? await place.fetchNamed(tagOrDigest, options)
    : await fetchResolved(place, tagOrDigest, options);
  return { descriptor, document: parseDocument(bytes, descriptor) };
}

async function fetchResolved(place: Fetcher & Resolver, tagOrDigest: string, options?: ReadOptions) {
  const descriptor = await place.resolve(tagOrDigest, options);
  return { descriptor, bytes: await fetchBytes(place, descriptor, MAX_MANIFEST_SIZE, options) };
}
