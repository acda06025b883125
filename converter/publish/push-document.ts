/** Pushes configs, manifests and indexes: small documents, complete before they are pushed. */

import { advise, option } from '../../base/advice.ts';
import { bytesSource } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { encodeJson, type ImageIndex, type ImageManifest } from '../../oci/manifest.ts';
import { isManifestContent } from '../../oci/media-types.ts';
import { canRefer, inRegistry } from '../../oci/powers.ts';
import type { Target } from '../../oci/storage.ts';
import type { EventSink } from '../events.ts';

/** The destination of documents. */
export interface DocumentPlace {
  readonly target: Target;
  readonly signal: AbortSignal | undefined;
  /** Collects the digests of manifests that were read back from a registry after they were stored. */
  readonly confirmed: Set<string>;
  readonly emit: EventSink;
}

/** Order of the fields of manifests and indexes, so that the same content has the same digest. */
const FIELDS = [
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'manifests',
  'subject',
  'annotations',
];

/** A parsed document with its fields in accel's order; unknown fields come last. */
export function inOrder<T extends ImageManifest | ImageIndex>(document: T): T {
  const fields = new Map(Object.entries(document));
  const known = FIELDS.filter((field) => fields.get(field) !== undefined).map((field) => [field, fields.get(field)]);
  return { ...Object.fromEntries(known), ...document };
}

/** Pushes a manifest or index; one with a subject as a referrer. */
export async function putManifest(place: DocumentPlace, manifest: ImageManifest | ImageIndex): Promise<Descriptor> {
  const { target, signal } = place;
  const bytes = encodeJson(manifest);
  if (manifest.subject === undefined) return putBytes(place, bytes, manifest.mediaType);
  if (!canRefer(target)) {
    throw new AccelError('usage', 'this target keeps no referrers', {
      found: target.name,
      hint: advise`Convert without ${option('referrer')}.`,
    });
  }
  const descriptor: Descriptor = { mediaType: manifest.mediaType, digest: digestOf(bytes), size: bytes.length };
  const link = await target.pushReferrer(descriptor, bytesSource(bytes), { signal });
  noteConfirmed(place, descriptor, link.outcome);
  place.emit({ type: 'referrer', digest: descriptor.digest, subject: manifest.subject.digest, via: link.via });
  return descriptor;
}

/** Pushes a small blob. */
export async function putBytes(place: DocumentPlace, bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
  const { target, signal } = place;
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  noteConfirmed(place, descriptor, await target.push(descriptor, bytesSource(bytes), { signal }));
  return descriptor;
}

/** A registry's client reads each manifest back after it stored it. */
function noteConfirmed({ target, confirmed }: DocumentPlace, descriptor: Descriptor, outcome: 'pushed' | 'existed') {
  const isReadBack = outcome === 'pushed' && inRegistry(target) !== undefined;
  if (isReadBack && isManifestContent(descriptor.mediaType)) confirmed.add(descriptor.digest);
}
