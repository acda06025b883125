/** Reads what prune decides by: all tags of a repository, with their digests, children, records and ages. */
import { asAccelError } from '../../base/error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { loadDocument, loadImageConfig, loadManifest, resolveDocument, unlessMissing } from '../../oci/document.ts';
import type { ImageDocument } from '../../oci/manifest.ts';
import { isIndex, isManifest } from '../../oci/media-types.ts';
import type { ReadOptions, TagLister, Target } from '../../oci/storage.ts';
import { decodeRecord } from '../publish/record-annotations.ts';
import type { TagFacts } from './plan-prune.ts';

/** Settings of the reading. */
export interface ReadTagsOptions {
  readonly signal: AbortSignal;
  /** Waits before each image, so that the registry stays usable. */
  readonly pace: () => Promise<void>;
  /** Reads the ages of accelerated images, too: a request or two each. */
  readonly ages: boolean;
}

/** The tags of a repository. */
export interface RepositoryTags {
  readonly tags: readonly TagFacts[];
  /** Tags that are listed and do not exist. */
  readonly broken: readonly string[];
}

/** Deepest nesting of indexes. */
const MAX_DEPTH = 4;

/** Reads all tags. Throws what the registry throws: then nothing is known. */
export async function readTags(target: Target & TagLister, options: ReadTagsOptions): Promise<RepositoryTags> {
  const { signal, pace } = options;
  const tags: TagFacts[] = [];
  const broken: string[] = [];
  for (const tag of await target.tags({ signal })) {
    await pace();
    const facts = await readTag(target, tag, options);
    if (facts === undefined) broken.push(tag);
    else tags.push(facts);
  }
  return { tags, broken };
}

/** Reads a tag; undefined if it does not exist. Throws what the registry throws. */
export async function readTag(
  target: Target,
  tag: string,
  { signal, ages }: Omit<ReadTagsOptions, 'pace'>,
): Promise<TagFacts | undefined> {
  const named = await unlessMissing(() => readable(target, tag, { signal }));
  if (named === undefined) return undefined;
  const { descriptor, document } = named;
  const { digest } = descriptor;
  if (document === undefined) return { tag, digest, children: isManifest(descriptor.mediaType) ? [] : undefined };
  const children = document.kind === 'index' ? await childrenOf(target, document.index.manifests, { signal }) : [];
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
      next.push(...document.index.manifests);
    }
    level = next;
  }
  return [...found];
}

/** Time at which an image was built, by its config; undefined where it has none. */
async function builtOf(target: Target, document: ImageDocument, options: ReadOptions): Promise<number | undefined> {
  return unlessMissing(async () => {
    const [first] = document.kind === 'index' ? document.index.manifests : [];
    if (document.kind === 'index' && first === undefined) return undefined;
    const manifest = document.kind === 'index' ? await loadManifest(target, first!, options) : document.manifest;
    const config = await loadImageConfig(target, manifest, options);
    const time = Date.parse(String((config as { readonly created?: unknown } | undefined)?.created ?? ''));
    return Number.isNaN(time) ? undefined : time;
  });
}

async function orUnless<T>(code: string, body: () => Promise<T>): Promise<T | undefined> {
  try {
    return await body();
  } catch (error) {
    if (asAccelError(error).code === code) return undefined;
    throw error;
  }
}
