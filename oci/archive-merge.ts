/** Merges the tags of two processes that wrote to one archive. */
import { fetchBytes } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import { digestOf } from './digest.ts';
import { refNameOf } from './image-names.ts';
import { type IndexFile, retagged } from './layout-index.ts';
import { encodeJson, MAX_MANIFEST_SIZE, parseIndex } from './manifest.ts';
import { isIndex, OCI } from './media-types.ts';
import { isReferrerTag } from './referrers.ts';
import type { Fetcher, TagMerger } from './storage.ts';

/** A tag that this process set, and how it is merged with another's of that name. */
export interface GivenTag {
  readonly descriptor: Descriptor;
  readonly merge?: Parameters<TagMerger['tagMerged']>[1]['merge'];
}

/** See {@link mergeTags}. */
export interface MergedTags {
  readonly index: IndexFile;
  /** Content that holds the entries of both sides, by digest. */
  readonly composed: ReadonlyMap<string, Uint8Array>;
}

/**
 * Adds the tags that this process set (`ours`, in order) to the index that another process wrote. If both set a tag,
 * ours wins, except for a list of referrers, which gets the entries of both, and a tag that says how it is merged.
 */
export async function mergeTags(
  content: Fetcher,
  theirs: IndexFile,
  ours: ReadonlyMap<string, GivenTag>,
): Promise<MergedTags> {
  let index = theirs;
  const composed = new Map<string, Uint8Array>();
  for (const [tag, { descriptor, merge }] of ours) {
    const other = theirs.manifests.find((entry) => refNameOf(entry) === tag && entry.digest !== descriptor.digest);
    let named = descriptor;
    if (other !== undefined && merge !== undefined) {
      const merged = await merge(other);
      named = merged.descriptor;
      for (const [digest, bytes] of merged.content) composed.set(digest, bytes);
    } else if (other !== undefined && isReferrerTag(tag) && isIndex(other.mediaType) && isIndex(descriptor.mediaType)) {
      const bytes = await joined(content, other, descriptor);
      named = { mediaType: OCI.index, digest: digestOf(bytes), size: bytes.length };
      composed.set(named.digest, bytes);
    }
    index = retagged(index, named, tag) ?? index;
  }
  return { index, composed };
}

async function joined(content: Fetcher, theirs: Descriptor, ours: Descriptor): Promise<Uint8Array> {
  const first = parseIndex(await fetchBytes(content, theirs, MAX_MANIFEST_SIZE), theirs);
  const second = parseIndex(await fetchBytes(content, ours, MAX_MANIFEST_SIZE), ours);
  const known = new Set(first.manifests.map(({ digest }) => digest));
  const added = second.manifests.filter(({ digest }) => !known.has(digest));
  return encodeJson({ ...first, manifests: [...first.manifests, ...added] });
}
