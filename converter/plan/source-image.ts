/** Loads an image and checks it before any work: refuses what accel cannot convert, with the reason. */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import type { ImageConfig } from '../../oci/config.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { loadImageConfig, loadManifest } from '../../oci/document.ts';
import type { ImageManifest } from '../../oci/manifest.ts';
import { isEncryptedLayer, isLayer, isNonDistributableLayer } from '../../oci/media-types.ts';
import { formatPlatform, imagePlatform, type Platform } from '../../oci/platform.ts';
import type { Fetcher, ReadOptions, Storage } from '../../oci/storage.ts';
import { refuseAccelerated } from '../publish/record-annotations.ts';

/** Most layers that the runtime can stack. */
export const MAX_LAYERS = 255;

/** One platform's image. */
export interface SourceImage {
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /** `os/architecture[/variant]`, from the index or else from the config. */
  readonly platform: string;
  /** The same, with every field. */
  readonly runsOn: Platform;
  /** Bytes of config and layers. */
  readonly size: number;
}

/** Options of {@link loadSourceImage}. */
export interface LoadImageOptions extends ReadOptions {
  /** Limit of the blob of a layer, in bytes. */
  readonly maxLayerSize: number;
  /** The manifest, where it was read before. */
  readonly manifest?: ImageManifest | undefined;
  /** The config, where it was read before. */
  readonly config?: ImageConfig | undefined;
}

/** A place to read a source from. */
type Source = Fetcher & Pick<Storage, 'exists'>;

/**
 * Fetches manifest and config. The platform of the descriptor, which an index gives, counts over that of the config.
 * Throws `image-unsupported`, `layer-unsupported`, `already-accelerated`, `limit-exceeded` or `manifest-invalid`.
 */
export async function loadSourceImage(
  fetcher: Source,
  descriptor: Descriptor,
  options: LoadImageOptions,
): Promise<SourceImage> {
  const manifest = options.manifest ?? (await loadManifest(fetcher, descriptor, options));
  const where = { manifest: descriptor.digest };
  refuseAccelerated(manifest, descriptor.digest);
  const config = options.config ?? (await loadImageConfig(fetcher, manifest, options));
  if (config === undefined) {
    throw new AccelError('image-unsupported', 'this is an artifact, not a container image', {
      where,
      expected: 'the config of an image',
      found: manifest.artifactType ?? manifest.config.mediaType,
    });
  }
  const runsOn = imagePlatform(descriptor.platform, config);
  const platform = formatPlatform(runsOn);
  if (runsOn.os !== 'linux') {
    throw new AccelError('image-unsupported', 'the image is not for Linux', {
      where,
      expected: 'linux',
      found: platform,
    });
  }
  checkLayers(manifest, config, options.maxLayerSize, where);
  await checkForeign(fetcher, manifest, options);
  const size = manifest.layers.reduce((sum, layer) => sum + layer.size, manifest.config.size);
  return { descriptor, manifest, config, platform, runsOn, size };
}

/** A non-distributable layer may be in the registry: docker and crane push such layers on request. */
async function checkForeign(storage: Source, { layers }: ImageManifest, { signal }: ReadOptions): Promise<void> {
  for (const [index, layer] of layers.entries()) {
    if (!isNonDistributableLayer(layer.mediaType) || (await storage.exists(layer, { signal }))) continue;
    throw new AccelError('layer-unsupported', 'the layer is foreign, and its content is not in the registry', {
      where: { layer: `${index + 1} of ${layers.length}`, digest: layer.digest },
      expected: 'the content of the layer beside its manifest',
      found: layer.mediaType,
      hint: 'Push the image with its non-distributable layers (crane and Docker have an option for it), or rebuild it.',
    });
  }
}

function checkLayers(
  { layers }: ImageManifest,
  config: ImageConfig,
  maxLayerSize: number,
  where: { readonly manifest: string },
): void {
  const diffIds = config.rootfs.diff_ids;
  if (layers.length === 0) {
    throw new AccelError('image-unsupported', 'the image has no layers', {
      where,
      expected: 'at least one layer',
      found: 0,
    });
  }
  if (layers.length > MAX_LAYERS) {
    throw new AccelError('limit-exceeded', 'the image has more layers than the runtime can stack', {
      where,
      expected: `at most ${MAX_LAYERS}`,
      found: layers.length,
      hint: 'flatten the image first',
    });
  }
  if (diffIds.length !== layers.length) {
    throw new AccelError('manifest-invalid', 'manifest and config do not have the same number of layers', {
      where,
      expected: `${layers.length} diff_ids`,
      found: diffIds.length,
    });
  }
  layers.forEach((layer, index) => {
    const place = { ...where, layer: `${index + 1} of ${layers.length}`, digest: layer.digest };
    if (layer.size > maxLayerSize) {
      throw new AccelError('limit-exceeded', 'the layer is larger than accel reads', {
        where: place,
        expected: `at most ${maxLayerSize} bytes`,
        found: `${layer.size} bytes, by the manifest`,
        hint: advise`If the image is what you expect, raise the bound with ${option('maxLayerSize')}.`,
      });
    }
    const problem = layerProblem(layer.mediaType);
    if (problem === undefined) return;
    throw new AccelError('layer-unsupported', problem.message, {
      where: place,
      expected: 'a file-system layer in this registry',
      found: layer.mediaType,
      hint: problem.hint,
    });
  });
}

function layerProblem(mediaType: string): { readonly message: string; readonly hint: string } | undefined {
  if (isEncryptedLayer(mediaType))
    return { message: 'the layer is encrypted', hint: 'convert the image before it is encrypted' };
  if (!isLayer(mediaType))
    return {
      message: 'the layer is not a file-system layer',
      hint: 'this looks like an artifact, not a container image',
    };
  return undefined;
}
