/**
 * Compares layers that a run takes over from the record with the layers of the source as `accel verify` does: as an image
 * that ends with the last of them.
 */
import { AccelError } from '../../base/error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { encodeJson, type ImageManifest } from '../../oci/manifest.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import { canSizeBlobs } from '../../oci/powers.ts';
import type { BlobSizer, Target } from '../../oci/storage.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import { verifyImage } from '../../verify/verify-image.ts';
import type { CachedBlob } from '../publish/layer-record.ts';
import { descriptorOf, familyOf } from '../publish/output-manifest.ts';
import { encodeRecord, flattenedAnnotation, makeRecord } from '../publish/record-annotations.ts';
import type { Session } from '../session.ts';
import type { ImageJob } from './image-job.ts';
import { flattenedAbove } from './layer-groups.ts';

/** Describes the first difference between blobs and the lowest layers of a source; undefined if they agree. */
export async function problemOfReused(
  { session, source, groups }: ImageJob,
  blobs: readonly CachedBlob[],
): Promise<string | undefined> {
  const { signal, request } = session;
  const covered = groups.slice(0, blobs.length);
  const documents = new MemoryTarget(session.target.name);
  const place = overlay(documents, session);
  const family = familyOf(session, source.manifest.mediaType);
  const put = (document: object, { mediaType }: Pick<Descriptor, 'mediaType'>): Descriptor =>
    documents.put(mediaType, encodeJson(document));
  const image = (layers: readonly Descriptor[], diffIds: readonly string[], annotations: object): Descriptor => {
    // No history: its steps would have to be assigned to these layers and those above.
    const { history: _, ...config } = source.config;
    const manifest: ImageManifest = {
      schemaVersion: 2,
      mediaType: source.manifest.mediaType,
      config: put({ ...config, rootfs: { ...config.rootfs, diff_ids: diffIds } }, source.manifest.config),
      layers,
      ...annotations,
    };
    return put(manifest, manifest);
  };
  const { layers } = source.manifest;
  const count = covered.reduce((sum, group) => sum + group.count, 0);
  const plain = image(layers.slice(0, count), source.config.rootfs.diff_ids.slice(0, count), {});
  const mode = blobs.every(({ kind }) => kind === 'full') ? 'full' : 'containerd';
  const annotations = {
    ...encodeRecord(makeRecord(plain.digest, mode, session.options)),
    ...flattenedAnnotation(flattenedAbove(covered)),
  };
  const accelerated = image(
    blobs.map((blob) => descriptorOf(blob, family)),
    blobs.map(({ diffId }) => diffId),
    { annotations },
  );
  try {
    const opened = await openImage(place, accelerated.digest, { signal, checksDigests: true });
    const options = { target: place, maxLayerSize: request.artifact.maxLayerSize, signal };
    const report = await verifyImage(opened, { target: place, descriptor: plain }, options);
    const [first] = report.differences;
    return first === undefined ? undefined : `${first.path} differs in ${first.field}`;
  } catch (error) {
    if (signal.aborted || !(error instanceof AccelError) || !/-(?:invalid|mismatch|unsupported)$/.test(error.code)) {
      throw error;
    }
    return error.message;
  }
}

/** The documents, with the blobs of the target and the source. */
function overlay(documents: MemoryTarget, { target, source, signal }: Session): Target & Partial<BlobSizer> {
  const placeOf = async (descriptor: Descriptor): Promise<Target> => {
    for (const place of [documents, target]) if (await place.exists(descriptor, { signal })) return place;
    return source;
  };
  return {
    name: target.name,
    fetch: async (descriptor, options) => (await placeOf(descriptor)).fetch(descriptor, options),
    fetchRange: async (descriptor, offset, length, options) =>
      (await placeOf(descriptor)).fetchRange(descriptor, offset, length, options),
    exists: async (descriptor, options) => (await placeOf(descriptor)).exists(descriptor, options),
    resolve: (tagOrDigest, options) => documents.resolve(tagOrDigest, options),
    push: (...pushed) => documents.push(...pushed),
    tag: (...named) => documents.tag(...named),
    // For uncompressed layers, of which only the digest is known.
    ...(canSizeBlobs(source) ? { blobSize: source.blobSize.bind(source) } : {}),
  };
}
