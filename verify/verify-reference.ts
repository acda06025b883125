/** Verification of what a reference names: every platform of an index, each against the source that it records. */
import { advise, option } from '../base/advice.ts';
import { AccelError, asAccelError, withPlace } from '../base/error.ts';
import { RECORD_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type NamedDocument, resolveDocument } from '../oci/document.ts';
import { indexImages, type ListedImage } from '../oci/index-images.ts';
import {
  choosePlatform,
  choosePlatforms,
  formatPlatform,
  imagePlatform,
  type Platform,
  parsePlatform,
} from '../oci/platform.ts';
import { inRegistry } from '../oci/powers.ts';
import type { Target } from '../oci/storage.ts';
import { type AcceleratedImage, openImage } from '../reader/accelerated-image.ts';
import { verifyImage } from './verify-image.ts';
import { type Difference, DifferenceLog, type VerifyProgress, type VerifyReport } from './verify-report.ts';

/**
 * Bytes of decompressed blocks in memory. A verification reads in the order of the device and comes back to no block; one that
 * stays for long outlives V8's short collections and waits for a long one.
 */
const CACHE_BYTES = 8 << 20;

/** An image by name: its target, and its tag or digest there. */
export interface NamedImage {
  readonly target: Target;
  readonly tagOrDigest: string;
}

/** The image to verify, and its source. */
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

/** The document of a name: one manifest, or an index with its images. */
interface Loaded extends NamedDocument {
  /** Undefined for a manifest. */
  readonly images: readonly ListedImage[] | undefined;
}

/** Verifies each platform. Rejects as {@link verifyImage} does, and with `usage` when the source cannot be known. */
export async function verifyReference(request: VerifyRequest): Promise<VerifyResult> {
  const { accelerated, signal } = request;
  const named = await load(accelerated, signal);
  const source = request.source === undefined ? undefined : await load(request.source, signal).catch(noSource);
  const log = new DifferenceLog();
  await compareIndex(named, source, request, log);
  const images: VerifyReport[] = [];
  const chosen = await chooseImages(named, accelerated.target, request);
  for (const { digest, platform } of chosen) {
    try {
      const image = await openImage(accelerated.target, digest, {
        signal,
        listedAs: platform,
        cacheBytes: CACHE_BYTES,
        checksDigests: true,
      });
      const descriptor = await sourceOf({ image, platform }, source, accelerated.target, signal);
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

/** Loads a name, with the indexes inside of its index opened: those of a converted index are not nested. */
async function load({ target, tagOrDigest }: NamedImage, signal: AbortSignal | undefined): Promise<Loaded> {
  const named = await resolveDocument(target, tagOrDigest, { signal });
  const { document } = named;
  if (document.kind === 'manifest') return { ...named, images: undefined };
  return { ...named, images: (await indexImages(target, document.index, { signal })).images };
}

/** The images to verify. Without a choice a layout or archive that holds some platforms of an index is one of those. */
async function chooseImages(
  { descriptor, images }: Loaded,
  target: Target,
  { platforms, signal }: VerifyRequest,
): Promise<readonly Descriptor[]> {
  if (images === undefined) return [descriptor];
  const wanted = platforms.map(parsePlatform);
  for (const platform of wanted) {
    if (choosePlatform(platform, images, platformOf).length > 0) continue;
    throw noPlatform('the image has no such platform', formatPlatform(platform), images, { digest: descriptor.digest });
  }
  const chosen = choosePlatforms(wanted, images, platformOf);
  if (wanted.length > 0 || inRegistry(target) !== undefined) return chosen;
  const here: ListedImage[] = [];
  for (const image of chosen) if (await target.exists(image, { signal })) here.push(image);
  return here.length === 0 ? chosen : here;
}

function platformOf({ platform }: ListedImage): Platform {
  return platform;
}

function noPlatform(
  message: string,
  expected: string,
  images: readonly ListedImage[],
  where: Readonly<Record<string, string>> = {},
): AccelError {
  const found = images.map((image) => formatPlatform(image.platform)).join(', ') || 'no images';
  return new AccelError('not-found', message, { where, expected, found });
}

/** The index was made from an index, and its images from that one's images of the same platforms. */
async function compareIndex(
  { document, images = [] }: Loaded,
  given: Loaded | undefined,
  { accelerated, signal }: VerifyRequest,
  log: DifferenceLog,
): Promise<void> {
  if (document.kind !== 'index') return;
  const recorded = document.index.annotations?.[RECORD_ANNOTATION.sourceDigest];
  if (recorded === undefined) return;
  if (given?.document.kind === 'index') log.image('index', 'source digest', given.descriptor.digest, recorded);
  const source = given ?? (await load({ ...accelerated, tagOrDigest: recorded }, signal).catch(noSource));
  if (source.images === undefined) return;
  const there = new Set(source.images.map((image) => formatPlatform(image.platform)));
  for (const image of images) {
    const platform = formatPlatform(image.platform);
    const found = there.has(platform) ? platform : 'nothing of this platform in the source';
    log.image('index', 'platforms', platform, found);
  }
}

/** The source manifest of one image. */
async function sourceOf(
  { image, platform }: { readonly image: AcceleratedImage; readonly platform: Platform | undefined },
  given: Loaded | undefined,
  target: Target,
  signal: AbortSignal | undefined,
): Promise<Descriptor> {
  const recorded = image.manifest.annotations?.[RECORD_ANNOTATION.sourceDigest];
  if (given?.document.kind === 'manifest') return given.descriptor;
  if (given?.images !== undefined) {
    const wanted = imagePlatform(platform, image.config);
    const found =
      given.images.find((child) => child.digest === recorded) ?? choosePlatform(wanted, given.images, platformOf)[0];
    if (found !== undefined) return found;
    throw noPlatform('the source has no image for this platform', image.platform, given.images);
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
