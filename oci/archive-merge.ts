/** Merges the tags of two processes that wrote to one archive. */
import { fetchBytes } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import { digestOf } from './digest.ts';
import { refNameOf } from './image-names.ts';
import { type IndexFile, retagged } from './layout-index.ts';
import { encodeJson, MAX_MANIFEST_SIZE, parseIndex } from './manifest.ts';
import { isIndex, OCI } from './media-types.ts';
import { isReferrerTag } from './referrers.ts';
import type { Fetcher } from './storage.ts';

/** See {@link mergeTags}. */
export interface MergedTags {
  readonly index: IndexFile;
  /** Lists of referrers that hold the entries of both sides, by digest. */
  readonly composed: ReadonlyMap<string, Uint8Array>;
}

/**
 * Adds the tags that this process set (`ours`, in order) to the index that another process wrote. If both set a tag,
 * ours wins, except for a list of referrers, which gets the entries of both.
 */
export async function mergeTags(
  content: Fetcher,
  theirs: IndexFile,
  ours: ReadonlyMap<string, Descriptor>,
): Promise<MergedTags> {
  let index = theirs;
  const composed = new Map<string, Uint8Array>();
  for (const [tag, descriptor] of ours) {
    const other = theirs.manifests.find((entry) => refNameOf(entry) === tag && entry.digest !== descriptor.digest);
    let named = descriptor;
    if (other !== undefined && isReferrerTag(tag) && isIndex(other.mediaType) && isIndex(descriptor.mediaType)) {
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
