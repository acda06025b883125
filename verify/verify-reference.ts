/** Verification of what a reference names: every platform of an index, each against the source that it records. */
import { advise, option } from '../base/advice.ts';
import { AccelError, asAccelError, withPlace } from '../base/error.ts';
import { RECORD_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { loadDocument } from '../oci/document.ts';
import { indexEntries } from '../oci/index-entries.ts';
import type { ImageDocument } from '../oci/manifest.ts';
import { formatPlatform, matchPlatform, parsePlatform } from '../oci/platform.ts';
import type { Target } from '../oci/storage.ts';
import { type AcceleratedImage, openImage } from '../reader/image.ts';
import { isImage } from '../reader/select-image.ts';
import { type Difference, DifferenceLog, type VerifyProgress, type VerifyReport } from './report.ts';
import { verifyImage } from './verify.ts';

/** An image by name: where it stands, and its tag or digest there. */
export interface NamedImage {
  readonly target: Target;
  readonly tagOrDigest: string;
}

/** What to verify, and against what. */
export interface VerifyRequest {
  readonly accelerated: NamedImage;
  /** The source image or its index; by default what the accelerated image records, in its own repository. */
  readonly source?: NamedImage | undefined;
  /** Platforms of an index as `os/arch[/variant]`; all when empty. */
  readonly platforms: readonly string[];
  /** Leave content alone. */
  readonly quick: boolean;
  /** Bytes that a source layer may have, uncompressed; 256 GiB unless given. */
  readonly maxLayerSize?: number;
  readonly onProgress?: (platform: string, progress: VerifyProgress) => void;
  readonly signal?: AbortSignal | undefined;
}

/** The outcome for everything that was asked for. */
export interface VerifyResult {
  /** Digest of the manifest or index that was verified. */
  readonly digest: string;
  /** True when nothing differs. */
  readonly identical: boolean;
  /** Differences of all platforms and of the index. */
  readonly differenceCount: number;
  /** Of the index itself. */
  readonly differences: readonly Difference[];
  readonly images: readonly VerifyReport[];
}

interface Named {
  readonly descriptor: Descriptor;
  readonly document: ImageDocument;
}

/** Verifies each platform. Rejects as {@link verifyImage} does, and with `usage` when the source cannot be known. */
export async function verifyReference(request: VerifyRequest): Promise<VerifyResult> {
  const { accelerated, signal } = request;
  const named = await load(accelerated, signal);
  const source = request.source === undefined ? undefined : await loadSource(request.source, signal);
  const log = new DifferenceLog();
  if (named.document.kind === 'index') await compareIndex(named, source, request, log);
  const images: VerifyReport[] = [];
  for (const { digest, platform } of chooseImages(named, request.platforms)) {
    try {
      const image = await openImage(accelerated.target, digest, { signal });
      const descriptor = await sourceOf(image, source, accelerated.target, signal);
      images.push(
        await verifyImage(
          image,
          { target: request.source?.target ?? accelerated.target, descriptor },
          {
            target: accelerated.target,
            quick: request.quick,
            ...(request.maxLayerSize === undefined ? {} : { maxLayerSize: request.maxLayerSize }),
            onProgress: (progress) => request.onProgress?.(image.platform, progress),
            ...(signal === undefined ? {} : { signal }),
          },
        ),
      );
    } catch (error) {
      throw withPlace(error, platform === undefined ? {} : { platform: formatPlatform(platform) });
    }
  }
  const differenceCount = images.reduce((sum, image) => sum + image.differenceCount, log.count);
  return {
    digest: named.descriptor.digest,
    identical: differenceCount === 0,
    differenceCount,
    differences: log.kept,
    images,
  };
}

async function load({ target, tagOrDigest }: NamedImage, signal: AbortSignal | undefined): Promise<Named> {
  return loadDocument(target, tagOrDigest, { signal });
}

/** A source, with the indexes inside of its index opened: those of a converted index are not nested. */
async function loadSource(image: NamedImage, signal: AbortSignal | undefined): Promise<Named> {
  const { descriptor, document } = await load(image, signal).catch(noSource);
  if (document.kind === 'manifest') return { descriptor, document };
  const manifests = await indexEntries(image.target, document.index, { signal }).catch(noSource);
  return { descriptor, document: { ...document, index: { ...document.index, manifests } } };
}

function chooseImages({ descriptor, document }: Named, platforms: readonly string[]): readonly Descriptor[] {
  if (document.kind === 'manifest') return [descriptor];
  const images = document.index.manifests.filter(isImage);
  const wanted = platforms.map(parsePlatform);
  for (const platform of wanted) {
    if (images.some((image) => matchPlatform(platform, image.platform ?? {}))) continue;
    throw new AccelError('not-found', 'the image has no such platform', {
      where: { digest: descriptor.digest },
      expected: formatPlatform(platform),
      found: images.map((image) => formatPlatform(image.platform ?? {})).join(', ') || 'no images',
    });
  }
  if (wanted.length === 0) return images;
  return images.filter((image) => wanted.some((platform) => matchPlatform(platform, image.platform ?? {})));
}

/** The index was made from an index, and its images from that one's images of the same platforms. */
async function compareIndex(
  { document }: Named,
  given: Named | undefined,
  { accelerated, signal }: VerifyRequest,
  log: DifferenceLog,
): Promise<void> {
  if (document.kind !== 'index') return;
  const recorded = document.index.annotations?.[RECORD_ANNOTATION.sourceDigest];
  if (recorded === undefined) return;
  if (given?.document.kind === 'index') log.image('index', 'source digest', given.descriptor.digest, recorded);
  const source = given ?? (await loadSource({ ...accelerated, tagOrDigest: recorded }, signal));
  if (source.document.kind !== 'index') return;
  const { manifests } = source.document.index;
  for (const image of document.index.manifests.filter(isImage)) {
    const platform = formatPlatform(image.platform ?? {});
    const match = manifests.some((child) => isImage(child) && formatPlatform(child.platform ?? {}) === platform);
    log.image('index', 'platforms', platform, match ? platform : 'nothing of this platform in the source');
  }
}

/** The source manifest of one image. */
async function sourceOf(
  image: AcceleratedImage,
  given: Named | undefined,
  target: Target,
  signal: AbortSignal | undefined,
): Promise<Descriptor> {
  const recorded = image.manifest.annotations?.[RECORD_ANNOTATION.sourceDigest];
  if (given?.document.kind === 'manifest') return given.descriptor;
  if (given?.document.kind === 'index') {
    const children = given.document.index.manifests.filter(isImage);
    const platform = parsePlatform(image.platform);
    const found =
      children.find((child) => child.digest === recorded) ??
      children.find((child) => matchPlatform(platform, child.platform ?? {}));
    if (found !== undefined) return found;
    throw new AccelError('not-found', 'the source has no image for this platform', {
      expected: image.platform,
      found: children.map((child) => formatPlatform(child.platform ?? {})).join(', ') || 'no images',
    });
  }
  if (recorded !== undefined) return target.resolve(recorded, { signal }).catch(noSource);
  throw new AccelError('usage', 'the image does not say what it was made from', {
    where: { digest: image.descriptor.digest },
    expected: `the annotation ${RECORD_ANNOTATION.sourceDigest}`,
    hint: advise`Name the image that it was made from with ${option('source', 'REF')}.`,
  });
}

/** A base image may be deleted after a full conversion; then there is nothing to compare with. */
function noSource(error: unknown): never {
  const known = asAccelError(error);
  if (known.code !== 'not-found') throw error;
  throw new AccelError('not-found', 'the source image is not there', {
    where: known.where,
    ...(known.found === undefined ? {} : { found: known.found }),
    hint: advise`Name a copy of it with ${option('source', 'REF')}.`,
    cause: known,
  });
}
