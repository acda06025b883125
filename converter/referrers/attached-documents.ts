/** The manifests that accel attaches to an accelerated image: copies of bills of materials, and links. Same input, same bytes. */
import { REFERRER_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { DOCUMENT_FIELDS, type ImageManifest, unknownFields } from '../../oci/manifest.ts';
import { OCI } from '../../oci/media-types.ts';
import { REFERRER_LINK, type ReferrerKind } from '../../oci/referrer-kinds.ts';
import { subjectOf } from '../../oci/referrers.ts';

/** Content of the config and the layer of a link. */
export const EMPTY_BYTES: Uint8Array = new TextEncoder().encode('{}');
/** Its descriptor. */
export const EMPTY: Descriptor = { mediaType: OCI.empty, digest: digestOf(EMPTY_BYTES), size: EMPTY_BYTES.length };

/** An accelerated image, and the source manifest or index that it was made from. */
export interface Attachment {
  readonly accelerated: Descriptor;
  readonly sourceDigest: string;
  /** Repository of the source; absent where it is that of the accelerated image. */
  readonly sourceRepository?: string | undefined;
}

/** A copy of a referrer, with the accelerated image as its subject. `asTag`: cosign finds it by a tag, and it has no subject. */
export function copyOf(
  { accelerated, ...source }: Attachment,
  original: { readonly digest: string; readonly manifest: ImageManifest },
  asTag: boolean,
): ImageManifest {
  const { manifest, digest } = original;
  return {
    schemaVersion: 2,
    mediaType: asTag ? manifest.mediaType : OCI.manifest,
    ...(manifest.artifactType === undefined ? {} : { artifactType: manifest.artifactType }),
    config: manifest.config,
    layers: manifest.layers,
    ...(asTag ? {} : { subject: subjectOf(accelerated) }),
    annotations: {
      ...manifest.annotations,
      ...originOf(source),
      [REFERRER_ANNOTATION.copiedFrom]: digest,
      [REFERRER_ANNOTATION.attachedTo]: accelerated.digest,
    },
    ...unknownFields(manifest, DOCUMENT_FIELDS),
  };
}

/** A link: says that the source has referrers of a kind that are true of its digest alone. */
export function linkTo({ accelerated, ...source }: Attachment, kind: ReferrerKind): ImageManifest {
  return {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    artifactType: REFERRER_LINK,
    config: EMPTY,
    layers: [EMPTY],
    subject: subjectOf(accelerated),
    annotations: {
      ...originOf(source),
      [REFERRER_ANNOTATION.linkedKind]: kind,
      [REFERRER_ANNOTATION.attachedTo]: accelerated.digest,
    },
  };
}

/** The accelerated image that a copy or link of accel belongs to; undefined for what is neither. */
export function attachedTo(annotations: Readonly<Record<string, string>> | undefined): string | undefined {
  const to = annotations?.[REFERRER_ANNOTATION.attachedTo];
  const isOurs =
    annotations?.[REFERRER_ANNOTATION.copiedFrom] !== undefined ||
    annotations?.[REFERRER_ANNOTATION.linkedKind] !== undefined;
  return isOurs ? to : undefined;
}

function originOf({ sourceDigest, sourceRepository }: Omit<Attachment, 'accelerated'>): Record<string, string> {
  return {
    [REFERRER_ANNOTATION.sourceDigest]: sourceDigest,
    ...(sourceRepository === undefined ? {} : { [REFERRER_ANNOTATION.sourceRepository]: sourceRepository }),
  };
}
