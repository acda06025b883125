/** Reads what prune decides by: all tags of a repository, with their digests, children, records and ages. */
import { asAccelError } from '../../base/error.ts';
import { mapBounded } from '../../base/limiter.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { loadDocument, resolveDocument, unlessMissing } from '../../oci/document.ts';
import type { ImageDocument } from '../../oci/manifest.ts';
import { isIndex, isManifest } from '../../oci/media-types.ts';
import { isReferrerTag } from '../../oci/referrers.ts';
import type { ReadOptions, TagLister, Target } from '../../oci/storage.ts';
import { decodeRecord } from '../publish/record-annotations.ts';
import { attachedTo } from '../referrers/attached-documents.ts';
import { builtOf } from './created-time.ts';
import type { TagFacts } from './plan-prune.ts';

/** Settings of the reading. */
export interface ReadTagsOptions {
  readonly signal: AbortSignal;
  /** Waits before each image, so that the registry stays usable. */
  readonly pace: () => Promise<void>;
  /** Images that are read at a time; 1 unless given. */
  readonly concurrency?: number | undefined;
  /** Reads the ages of accelerated images, too: a request or two each. */
  readonly ages: boolean;
}

/** The tags of a repository. */
export interface RepositoryTags {
  /** In the order of the list of tags. */
  readonly tags: readonly TagFacts[];
  readonly byTag: ReadonlyMap<string, TagFacts>;
  /** Tags that are listed and do not exist. */
  readonly broken: readonly string[];
}

/** Deepest nesting of indexes. */
const MAX_DEPTH = 4;

/** Reads all tags. Throws what the registry throws: then nothing is known. */
export async function readTags(target: Target & TagLister, options: ReadTagsOptions): Promise<RepositoryTags> {
  return readListed(target, options, (tag) => readTag(target, tag, options));
}

/**
 * The tags as they are now; only those that are new or have moved are read, for the others a request without a body is enough. Throws
 * what the registry throws.
 */
export async function readTagsAgain(
  target: Target & TagLister,
  { byTag }: RepositoryTags,
  options: ReadTagsOptions,
): Promise<RepositoryTags> {
  return readListed(target, options, async (tag) => {
    const known = byTag.get(tag);
    const digest = known === undefined ? undefined : await digestOfTag(target, tag, options);
    return known !== undefined && digest === known.digest ? known : readTag(target, tag, options);
  });
}

/** The digest of a tag; undefined if it does not exist. Throws what the registry throws. */
export async function digestOfTag(target: Target, tag: string, { signal }: ReadOptions): Promise<string | undefined> {
  return (await unlessMissing(() => target.resolve(tag, { signal })))?.digest;
}

async function readListed(
  target: TagLister,
  { signal, pace, concurrency = 1 }: ReadTagsOptions,
  read: (tag: string) => Promise<TagFacts | undefined>,
): Promise<RepositoryTags> {
  const names = await target.tags({ signal });
  const found = await mapBounded(names, concurrency, async (tag) => {
    await pace();
    return read(tag);
  });
  const tags = found.filter((facts) => facts !== undefined);
  const byTag = new Map(tags.map((facts) => [facts.tag, facts]));
  return { tags, byTag, broken: names.filter((tag) => !byTag.has(tag)) };
}

/** Reads a tag; undefined if it does not exist. Throws what the registry throws. */
export async function readTag(
  target: Target,
  tag: string,
  { signal, ages }: Pick<ReadTagsOptions, 'signal' | 'ages'>,
): Promise<TagFacts | undefined> {
  const named = await unlessMissing(() => readable(target, tag, { signal }));
  if (named === undefined) return undefined;
  const { descriptor, document } = named;
  const { digest } = descriptor;
  if (document === undefined) return { tag, digest, children: isManifest(descriptor.mediaType) ? [] : undefined };
  const children = document.kind === 'index' ? await childrenOf(target, document.index.manifests, { signal }) : [];
  if (isReferrerTag(tag) && document.kind === 'index') {
    const { manifests } = document.index;
    // An index of platforms under such a name is an image all the same.
    if (manifests.every(({ platform }) => platform === undefined)) {
      return { tag, digest, children, listed: manifests.filter(isOurs).map((entry) => entry.digest) };
    }
  }
  const top = document.kind === 'index' ? document.index : document.manifest;
  const record = decodeRecord(top.annotations);
  const built = ages && record !== undefined ? await builtOf(target, document, { signal }) : undefined;
  return {
    tag,
    digest,
    children,
    ...(record === undefined ? {} : { record }),
    ...(built === undefined ? {} : { built }),
  };
}

function isOurs({ annotations }: Descriptor): boolean {
  return decodeRecord(annotations) !== undefined || attachedTo(annotations) !== undefined;
}

/** The document of a tag; without one where it is in no form that accel knows. */
async function readable(
  target: Target,
  tag: string,
  options: ReadOptions,
): Promise<{ readonly descriptor: Descriptor; readonly document?: ImageDocument }> {
  try {
    return await resolveDocument(target, tag, options);
  } catch (error) {
    const { code } = asAccelError(error);
    if (code !== 'image-unsupported' && code !== 'manifest-invalid' && code !== 'limit-exceeded') throw error;
    return { descriptor: await target.resolve(tag, options) };
  }
}

/** Digests of all descendants; undefined where an index among them cannot be read. */
async function childrenOf(
  target: Target,
  manifests: readonly Descriptor[],
  options: ReadOptions,
): Promise<readonly string[] | undefined> {
  const found = new Set<string>();
  let level = [...manifests];
  for (let depth = 0; level.length > 0; depth++) {
    const next: Descriptor[] = [];
    for (const child of level) {
      if (found.has(child.digest)) continue;
      found.add(child.digest);
      if (!isIndex(child.mediaType)) continue;
      if (depth === MAX_DEPTH) return undefined;
      const document = await orUnless('manifest-invalid', () =>
        orUnless('image-unsupported', () => unlessMissing(() => loadDocument(target, child, options))),
      );
      if (document?.kind !== 'index') return undefined;
      for (const child of document.index.manifests) next.push(child);
    }
    level = next;
  }
  return [...found];
}

async function orUnless<T>(code: string, body: () => Promise<T>): Promise<T | undefined> {
  try {
    return await body();
  } catch (error) {
    if (asAccelError(error).code === code) return undefined;
    throw error;
  }
}
