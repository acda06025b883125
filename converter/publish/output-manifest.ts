/** Composes and pushes config and manifest of a converted image. */
import type { ImageConfig } from '../../oci/config.ts';
import { DESCRIPTOR_FIELDS, type Descriptor } from '../../oci/descriptor.ts';
import { DOCUMENT_FIELDS, encodeJson, type ImageManifest, unknownFields } from '../../oci/manifest.ts';
import { isConfig, layerMediaType, type MediaFamily, mediaFamily, OCI, toFamily } from '../../oci/media-types.ts';
import { subjectOf } from '../../oci/referrers.ts';
import type { LayerBlob } from '../layer/engines/engine.ts';
import { flattenedAbove, isFlattened, type LayerGroup, sourcesOf } from '../layer/layer-groups.ts';
import type { LayerResult, ManifestResult, OutputTag } from '../options.ts';
import type { SourceImage } from '../plan/source-image.ts';
import { type AccelerationLayer, accelerationDescriptor, withAcceleration } from '../prefetch/acceleration.ts';
import type { Session } from '../session.ts';
import { flattenHistory } from './flattened-history.ts';
import type { CachedBlob } from './layer-record.ts';
import { putBytes, putManifest } from './push-document.ts';
import {
  encodeRecord,
  flattenedAnnotation,
  layoutAnnotation,
  makeRecord,
  withPrefetchOption,
} from './record-annotations.ts';

/** Kind of an image: full layers, index-only layers where possible, or only index-only layers. */
export type ImageKind = OutputTag['kind'];

/** A pushed manifest. */
export interface ComposedManifest extends ManifestResult {
  readonly mediaType: string;
  /** Bytes of the manifest itself. */
  readonly manifestSize: number;
}

/** The blobs of a layer, made in this run or taken over from an earlier one. */
export interface CachedLayer {
  readonly full: CachedBlob | undefined;
  readonly index: CachedBlob | undefined;
}

/** The blobs of one layer, by the engine that made them. */
export interface LayerBlobs {
  readonly full: LayerBlob | undefined;
  readonly index: LayerBlob | undefined;
}

/** An image of one kind, whose layers were pushed. */
export interface ImageParts {
  readonly source: SourceImage;
  /** The layers of the source in each of the result. */
  readonly groups: readonly LayerGroup[];
  readonly kind: ImageKind;
  /** The blob of each layer, by {@link chooseBlobs}. */
  readonly blobs: readonly CachedBlob[];
  readonly virtualSize: number;
  /** The acceleration layer to push, if any. */
  readonly acceleration: AccelerationLayer | undefined;
}

/** Pushes the acceleration layer, config and manifest of an image. */
export async function composeImage(
  session: Session,
  { source, groups, kind, blobs: chosen, virtualSize, acceleration }: ImageParts,
): Promise<ComposedManifest> {
  const family = familyOf(session, source.manifest.mediaType);
  // Without an index-only layer the image is a full one, whatever the request, and gets the same manifest.
  const mode = kind === 'containerd' && chosen.every((blob) => blob.kind === 'full') ? 'full' : kind;
  const above = flattenedAbove(groups);
  const stack: ImageConfig = {
    ...source.config,
    ...(above === undefined ? {} : historyField(flattenHistory(source.config, above))),
    rootfs: { ...source.config.rootfs, diff_ids: chosen.map((blob) => blob.diffId) },
  };
  const config = acceleration === undefined ? stack : withAcceleration(stack, acceleration);
  const top = acceleration === undefined ? [] : [accelerationDescriptor(acceleration, family)];
  if (acceleration !== undefined) await putBytes(session, acceleration.blob, top[0]!.mediaType);
  const { config: sourceConfig } = source.manifest;
  // Old registries have media types of configs such as application/octet-stream, which runtimes need not accept.
  const configType = toFamily(isConfig(sourceConfig.mediaType) ? sourceConfig.mediaType : OCI.config, family);
  const configDescriptor = await putBytes(session, encodeJson(config), configType);
  const unsigned: ImageManifest = {
    schemaVersion: 2,
    mediaType: toFamily(source.manifest.mediaType, family),
    ...artifactTypeOf(session, mode),
    config: { ...configDescriptor, ...unknownFields(sourceConfig, DESCRIPTOR_FIELDS) },
    layers: [...chosen.map((blob) => descriptorOf(blob, family)), ...top],
    ...subjectField(session, source.descriptor),
    annotations: {
      ...source.manifest.annotations,
      ...encodeRecord(makeRecord(source.descriptor.digest, mode, optionsOf(session, kind))),
      ...flattenedAnnotation(above),
      ...layoutAnnotation(session.request.artifact.layout),
    },
    ...unknownFields(source.manifest, DOCUMENT_FIELDS),
  };
  const manifest = session.recordKey?.sign(unsigned) ?? unsigned;
  const descriptor = await putManifest(session, manifest);
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
    size: manifest.layers.reduce((sum, layer) => sum + layer.size, configDescriptor.size),
    sourceSize: source.size,
    virtualSize,
    layers: chosen.map(({ kind, digest, size }, index) => ({
      kind,
      ...sourceOf(source, groups[index]!),
      digest,
      size,
    })),
    ...(acceleration === undefined ? {} : { prefetch: acceleration.result }),
    manifest,
  };
}

/** Names the source of a layer in the result. */
export function sourceOf(
  source: SourceImage,
  group: LayerGroup,
): Pick<LayerResult, 'sourceDigest' | 'sourceSize' | 'flattened'> {
  const layers = sourcesOf(source, group);
  return {
    sourceDigest: layers.at(-1)!.digest,
    sourceSize: layers.reduce((sum, { size }) => sum + size, 0),
    ...(isFlattened(group) ? { flattened: group.count } : {}),
  };
}

function historyField(history: ImageConfig['history']): Pick<ImageConfig, 'history'> {
  return history === undefined ? {} : { history };
}

/** The descriptor of a layer's blob in a manifest. */
export function descriptorOf({ compression, digest, size, annotations }: CachedBlob, family: MediaFamily): Descriptor {
  return { mediaType: layerMediaType(family, compression), digest, size, annotations };
}

/** The options of a kind of result for its record, with the prefetch list that it keeps, if any. */
export function optionsOf({ options, prefetch, kept }: Session, kind: ImageKind): string {
  const name = prefetch === undefined ? kept.nameOf(kind) : undefined;
  return name === undefined ? options : withPrefetchOption(options, name);
}

/** Chooses the blob of each layer. Index-only layers need an index-only bottom layer (docs/formats.md §5). */
export function chooseBlobs(kind: ImageKind, layers: readonly CachedLayer[]): CachedBlob[] {
  const indexed = kind !== 'full' && layers[0]?.index !== undefined;
  return layers.map(({ full, index }) => (indexed ? (index ?? full) : full)!);
}

/** The family of media types to write: the source's, unless OCI is requested or needed for a subject. */
export function familyOf({ request: { artifact } }: Session, mediaType: string): MediaFamily {
  return artifact.oci || artifact.referrer ? 'oci' : mediaFamily(mediaType);
}

/** The `artifactType` of a referrer (docs/formats.md §8). */
export function artifactTypeOf({ request }: Session, mode: ImageKind): { readonly artifactType?: string } {
  if (!request.artifact.referrer) return {};
  return { artifactType: `application/vnd.containerd.overlaybd.${mode === 'full' ? 'native' : 'turbo'}.v1+json` };
}

/** The `subject` of a referrer: the source, with only the fields that every registry accepts. */
export function subjectField({ request }: Session, source: Descriptor): { readonly subject?: Descriptor } {
  return request.artifact.referrer ? { subject: subjectOf(source) } : {};
}
