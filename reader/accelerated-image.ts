/** Opens an accelerated image in place: its layers, its block device, and statistics of the requests. */
import { AccelError, withPlace } from '../base/error.ts';
import { MAX_LAYERS } from '../formats/lsmt/layout.ts';
import { LAYER_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import type { ImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isDigestLike } from '../oci/digest.ts';
import { loadConfig, loadManifest, resolveDocument } from '../oci/document.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { formatPlatform, imagePlatform, type Platform } from '../oci/platform.ts';
import { inRegistry } from '../oci/powers.ts';
import type { Target } from '../oci/storage.ts';
import { LayeredDevice, type StackedDevice } from './block-device.ts';
import type { OpenedLayer } from './layer.ts';
import { selectImage } from './select-image.ts';
import { layerKindOf, type OpenStackOptions, openContext, openLayers } from './stack.ts';
import type { Traffic, TrafficStatistics } from './traffic.ts';

/** Options of {@link openImage}; all are optional. */
export interface OpenImageOptions extends OpenStackOptions {
  /** `os/architecture[/variant]` of an index; the only one or this machine's unless given. */
  readonly platform?: string | undefined;
  /** The platform in the index that lists the image, if it is opened by digest. */
  readonly listedAs?: Platform | undefined;
}

/** An accelerated image, opened. */
export interface AcceleratedImage {
  /** Of the manifest. */
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /** `os/architecture[/variant]`: what the index says, else what the config says. */
  readonly platform: string;
  /** All layers of the manifest, lowest first. */
  readonly layers: readonly OpenedLayer[];
  /** The root file system, as a node would attach it. */
  readonly device: StackedDevice;
  /** Requests and bytes of opening and reading so far. */
  statistics(): TrafficStatistics;
}

/**
 * Opens what a tag or digest names: an accelerated image, accel's or the reference's, or an index of them. Reads the
 * layers' indexes and no data. Throws `not-found`; `image-unsupported` for an ordinary image; and what the formats
 * throw, with the layer and its digest. The image holds no resources but memory; the caller closes the target.
 */
export async function openImage(
  target: Target,
  tagOrDigest: string,
  options: OpenImageOptions = {},
): Promise<AcceleratedImage> {
  const context = openContext(target, options);
  const { traffic } = context;
  const place = { image: `${target.name}${isDigestLike(tagOrDigest) ? '@' : ':'}${tagOrDigest}` };
  try {
    const { descriptor, manifest } = await loadImage(traffic, tagOrDigest, options);
    assertAccelerated(manifest);
    const [config, opened] = await Promise.all([
      loadConfig(traffic, manifest.config),
      openLayers(manifest.layers, context),
    ]);
    const stack = opened.filter((layer) => layer !== undefined);
    return {
      descriptor,
      manifest,
      config,
      platform: formatPlatform(imagePlatform(options.listedAs ?? descriptor.platform, config)),
      layers: manifest.layers.map((layer, index) => opened[index]?.info ?? accelerationLayer(index, layer)),
      device: new LayeredDevice(stack),
      statistics: () => traffic.statistics(),
    };
  } catch (error) {
    throw withPlace(error, place);
  }
}

async function loadImage(
  traffic: Traffic,
  tagOrDigest: string,
  { platform, signal }: OpenImageOptions,
): Promise<{ readonly descriptor: Descriptor; readonly manifest: ImageManifest }> {
  const { descriptor: named, document } = await resolveDocument(traffic, tagOrDigest);
  if (document.kind === 'manifest') return { descriptor: named, manifest: document.manifest };
  const { target } = traffic;
  const place = {
    fetch: (entry: Descriptor) => traffic.fetch(entry),
    // A layout or archive may hold some platforms of an index.
    ...(inRegistry(target) === undefined ? { isHere: (entry: Descriptor) => target.exists(entry, { signal }) } : {}),
  };
  const descriptor = await selectImage(place, document.index, platform, { where: { digest: named.digest }, signal });
  return { descriptor, manifest: await loadManifest(traffic, descriptor) };
}

function assertAccelerated({ layers }: ImageManifest): void {
  const kinds = layers.map(layerKindOf);
  const ordinary = kinds.indexOf(undefined);
  // An acceleration layer is no part of the stack.
  const stacked = kinds.filter((kind) => kind !== 'acceleration').length;
  if (ordinary < 0 && stacked > 0 && stacked <= MAX_LAYERS) return;
  if (stacked > MAX_LAYERS)
    throw new AccelError('limit-exceeded', 'the image has more layers than the runtime can stack', {
      expected: `at most ${MAX_LAYERS}`,
      found: stacked,
    });
  throw new AccelError('image-unsupported', 'this is not an accelerated image', {
    expected: `layers with ${LAYER_ANNOTATION.blobDigest}`,
    found:
      ordinary < 0 ? 'none' : `layer ${ordinary + 1} of ${layers.length} (${layers[ordinary]!.mediaType}) without it`,
    hint: 'Name the tag of the accelerated image, or make one with accel convert.',
  });
}

function accelerationLayer(index: number, descriptor: Descriptor): OpenedLayer {
  return { index, kind: 'acceleration', descriptor, segments: 0, size: descriptor.size };
}
