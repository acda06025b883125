/** Config and manifest of a converted image. */
import type { Descriptor } from '../oci/descriptor.ts';
import { digestOf } from '../oci/digest.ts';
import { encodeJson, type ImageConfig, type ImageManifest } from '../oci/manifest.ts';
import { layerMediaType, type MediaFamily, mediaFamily, toFamily } from '../oci/media-types.ts';
import { bytesSource } from '../oci/storage.ts';
import { encodeRecord, makeRecord } from './annotations.ts';
import type { LayerBlob } from './engines/engine.ts';
import type { CachedBlob } from './layer-cache.ts';
import type { ManifestResult, OutputTag } from './options.ts';
import type { Session } from './session.ts';
import type { SourceImage } from './source-image.ts';

/** What a manifest holds: full layers, index-only layers where possible, or index-only layers alone. */
export type ImageKind = OutputTag['kind'];

/** A manifest that stands in the target. */
export interface ComposedManifest extends ManifestResult {
  readonly mediaType: string;
  /** Bytes of the manifest itself. */
  readonly manifestSize: number;
}

/** What a manifest needs to know of a layer's blobs: made in this run or taken over from an earlier one. */
export interface CachedLayer {
  readonly full: CachedBlob | undefined;
  readonly index: CachedBlob | undefined;
}

/** The blobs of one layer, by the engine that made them. */
export interface LayerBlobs {
  readonly full: LayerBlob | undefined;
  readonly index: LayerBlob | undefined;
}

/** Pushes config and manifest of one kind over layers that were pushed before. */
export async function composeImage(
  session: Session,
  source: SourceImage,
  kind: ImageKind,
  layers: readonly CachedLayer[],
  virtualSize: number,
): Promise<ComposedManifest> {
  const chosen = chooseBlobs(kind, layers);
  const family: MediaFamily = session.request.artifact.oci ? 'oci' : mediaFamily(source.manifest.mediaType);
  // With no index-only layer in it the image is a full one, whatever was asked for, and has its manifest.
  const mode = kind === 'containerd' && chosen.every((blob) => blob.kind === 'full') ? 'full' : kind;
  const config: ImageConfig = {
    ...source.config,
    rootfs: { ...source.config.rootfs, diff_ids: chosen.map((blob) => blob.diffId) },
  };
  const configDescriptor = await put(session, encodeJson(config), toFamily(source.manifest.config.mediaType, family));
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: toFamily(source.manifest.mediaType, family),
    config: configDescriptor,
    layers: chosen.map((blob) => ({
      mediaType: layerMediaType(family, blob.compression),
      digest: blob.digest,
      size: blob.size,
      annotations: blob.annotations,
    })),
    annotations: {
      ...source.manifest.annotations,
      ...encodeRecord(makeRecord(source.descriptor.digest, mode, session.options)),
    },
  };
  const descriptor = await put(session, encodeJson(manifest), manifest.mediaType);
  session.emit({
    type: 'manifest-pushed',
    digest: descriptor.digest,
    platform: source.platform,
    kind: kind === 'full' ? 'full' : 'containerd',
  });
  return {
    platform: source.platform,
    sourceDigest: source.descriptor.digest,
    digest: descriptor.digest,
    mediaType: descriptor.mediaType,
    manifestSize: descriptor.size,
    size: chosen.reduce((sum, blob) => sum + blob.size, configDescriptor.size),
    sourceSize: source.size,
    virtualSize,
    layers: chosen.map((blob, index) => {
      const { digest, size } = source.manifest.layers[index]!;
      return { kind: blob.kind, sourceDigest: digest, sourceSize: size, digest: blob.digest, size: blob.size };
    }),
    manifest,
  };
}

/** The blob of each layer. Only on an index-only bottom layer may index-only layers stand (docs/formats.md §5). */
function chooseBlobs(kind: ImageKind, layers: readonly CachedLayer[]): CachedBlob[] {
  const indexed = kind !== 'full' && layers[0]?.index !== undefined;
  return layers.map(({ full, index }) => (indexed ? (index ?? full) : full)!);
}

/** Pushes a document, unless nothing is to be uploaded. */
export async function put(session: Session, bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  if (!session.request.noUpload) await session.target.push(descriptor, bytesSource(bytes), { signal: session.signal });
  return descriptor;
}
