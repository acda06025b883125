/** Reads the manifests that the tags of a repository lead to, each once. */
import { asAccelError } from '../../base/error.ts';
import { mapBounded } from '../../base/limiter.ts';
import { RECORD_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { loadDocument, resolveDocument, unlessMissing } from '../../oci/document.ts';
import { namesOf } from '../../oci/image-names.ts';
import type { ImageDocument, ImageManifest } from '../../oci/manifest.ts';
import { isConfig, isIndex, isLayer, isManifest, isNonDistributableLayer } from '../../oci/media-types.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { canListImages, canListTags } from '../../oci/powers.ts';
import type { ReadOptions, Target } from '../../oci/storage.ts';
import { layerKindOf } from '../../reader/stack.ts';

/** A manifest that tags lead to, in short: thousands of them are kept. */
export interface ReadManifest {
  readonly digest: string;
  readonly kind: 'base' | 'accelerated' | 'other';
  /** Bytes of the manifest itself. */
  readonly documentSize: number;
  /** Config and layers that the registry stores; foreign layers are not there. */
  readonly blobs: readonly Descriptor[];
  /** Layers as the manifest has them, of an accelerated image. */
  readonly layers: readonly Descriptor[];
  readonly sourceDigest: string | undefined;
  readonly tags: Set<string>;
  /** By the index that leads to it. */
  platform: string | undefined;
}

/** The manifests of a repository. */
export interface ReadRepository {
  readonly tags: number;
  readonly manifests: ReadonlyMap<string, ReadManifest>;
  readonly indexes: ReadonlyMap<string, number>;
  readonly problems: readonly string[];
}

/** Settings of the reading. */
export interface ReadRepositoryOptions extends ReadOptions {
  /** Manifests that are read at a time. */
  readonly concurrency: number;
}

/** Deepest nesting of indexes. */
const MAX_DEPTH = 4;

/**
 * Reads a repository, or a layout on disk. Content that does not exist or cannot be understood is a problem of the result. Throws what the
 * target throws.
 */
export async function readRepository(target: Target, options: ReadRepositoryOptions): Promise<ReadRepository> {
  const names = await namesIn(target, options);
  const reading = new Reading(target, options);
  await mapBounded(names, options.concurrency, ({ name, reference }) => reading.addTag(name, reference));
  const { manifests, indexes, problems } = reading;
  return { tags: names.length, manifests, indexes, problems };
}

async function namesIn(
  target: Target,
  options: ReadOptions,
): Promise<readonly { readonly name: string; readonly reference: string }[]> {
  if (canListTags(target)) return (await target.tags(options)).map((name) => ({ name, reference: name }));
  if (!canListImages(target)) return [];
  const entries = await target.images(options);
  return entries.flatMap((entry) => {
    const names = namesOf(entry);
    return (names.length === 0 ? [entry.digest] : names).map((name) => ({ name, reference: entry.digest }));
  });
}

class Reading {
  readonly manifests = new Map<string, ReadManifest>();
  readonly indexes = new Map<string, number>();
  readonly problems: string[] = [];
  readonly #target: Target;
  readonly #options: ReadOptions;
  /** Documents that are being read: two indexes may have one child. */
  readonly #reading = new Map<string, Promise<void>>();
  /** Children of indexes that were read. */
  readonly #children = new Map<string, readonly Descriptor[]>();

  constructor(target: Target, { signal }: ReadOptions) {
    this.#target = target;
    this.#options = { signal };
  }

  async addTag(name: string, reference: string): Promise<void> {
    await this.#orProblem(name, async () => {
      const { descriptor, document } = await resolveDocument(this.#target, reference, this.#options);
      this.#note(descriptor, document);
      await this.#mark(descriptor, name, 0);
    });
  }

  /** Gives a tag to a manifest, or to all that an index leads to. */
  async #mark(descriptor: Descriptor, tag: string, depth: number): Promise<void> {
    const { digest, platform } = descriptor;
    const manifest = this.manifests.get(digest);
    if (manifest !== undefined) {
      manifest.tags.add(tag);
      if (platform !== undefined) manifest.platform = formatPlatform(platform);
      return;
    }
    const children = this.#children.get(digest) ?? [];
    if (children.length > 0 && depth >= MAX_DEPTH) this.problems.push(`${tag}: indexes are nested too deep`);
    else
      for (const child of children) {
        await this.#orProblem(`${tag}, ${child.digest}`, () => this.#read(child));
        await this.#mark(child, tag, depth + 1);
      }
  }

  async #read(descriptor: Descriptor): Promise<void> {
    const { digest, mediaType } = descriptor;
    if (this.manifests.has(digest) || this.#children.has(digest)) return;
    if (!isIndex(mediaType) && !isManifest(mediaType)) return;
    const reading =
      this.#reading.get(digest) ??
      loadDocument(this.#target, descriptor, this.#options).then((document) => this.#note(descriptor, document));
    this.#reading.set(digest, reading);
    await reading;
    this.#reading.delete(digest);
  }

  #note(descriptor: Descriptor, document: ImageDocument): void {
    const { digest, size } = descriptor;
    if (document.kind === 'index') {
      this.indexes.set(digest, size);
      this.#children.set(digest, document.index.manifests);
    } else if (!this.manifests.has(digest)) this.manifests.set(digest, shortOf(descriptor, document.manifest));
  }

  async #orProblem(what: string, body: () => Promise<void>): Promise<void> {
    try {
      await body();
    } catch (error) {
      const { code, message } = asAccelError(error);
      if (!OF_ONE_IMAGE.has(code)) throw error;
      this.problems.push(`${what}: ${message}`);
    }
  }
}

/** Failures that are about one image, and not about the registry. */
const OF_ONE_IMAGE: ReadonlySet<string> = new Set([
  ...['not-found', 'manifest-invalid', 'image-unsupported', 'limit-exceeded', 'digest-mismatch', 'size-mismatch'],
]);

/** The base of an image by digest, where no tag leads to it any more; undefined where it is gone. */
export async function readUntagged(
  target: Target,
  digest: string,
  options: ReadOptions,
): Promise<ReadManifest | undefined> {
  const named = await unlessMissing(() => resolveDocument(target, digest, options));
  if (named === undefined || named.document.kind === 'index') return undefined;
  return shortOf(named.descriptor, named.document.manifest);
}

function shortOf({ digest, size }: Descriptor, manifest: ImageManifest): ReadManifest {
  const { config, layers, annotations } = manifest;
  const kind = kindOf(manifest);
  const stored = layers.filter(({ mediaType }) => !isNonDistributableLayer(mediaType));
  return {
    digest,
    kind,
    documentSize: size,
    blobs: [config, ...stored].map(({ mediaType, digest: of, size: bytes }) => ({
      mediaType,
      digest: of,
      size: bytes,
    })),
    layers: kind === 'accelerated' ? layers : [],
    sourceDigest: annotations?.[RECORD_ANNOTATION.sourceDigest],
    tags: new Set(),
    platform: undefined,
  };
}

/** Signatures have a config of an image, and layers of their own types. */
function kindOf({ artifactType, config, layers }: ImageManifest): ReadManifest['kind'] {
  if (layers.some((layer) => layerKindOf(layer) !== undefined)) return 'accelerated';
  if (artifactType !== undefined) return 'other';
  if (layers.length === 0) return isConfig(config.mediaType) ? 'base' : 'other';
  return layers.every(({ mediaType }) => isLayer(mediaType)) ? 'base' : 'other';
}
