/** Attaches what others attach to images: the forms of cosign, notation, ORAS and BuildKit. */
import { bytesSource } from '../../base/byte-source.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { encodeJson } from '../../oci/manifest.ts';
import { OCI } from '../../oci/media-types.ts';
import { canRefer } from '../../oci/powers.ts';
import { referrerTag, subjectOf } from '../../oci/referrers.ts';
import type { Target } from '../../oci/storage.ts';

/** An attached document. */
export interface Attached {
  /** Media type of the layer. */
  readonly type: string;
  readonly content: string;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Attaches a document as a referrer, as ORAS, notation and cosign 3 do. */
export async function attachReferrer(target: Target, subject: Descriptor, attached: Attached): Promise<Descriptor> {
  const { descriptor, bytes } = await manifestOf(target, attached, subject);
  if (!canRefer(target)) throw new Error('the target keeps no referrers');
  await target.pushReferrer(descriptor, bytesSource(bytes));
  return descriptor;
}

/** Attaches a document under a tag, as cosign 2 does. */
export async function attachTag(
  target: Target,
  subject: Descriptor,
  suffix: 'sig' | 'att' | 'sbom',
  attached: Attached,
): Promise<Descriptor> {
  const { descriptor, bytes } = await manifestOf(target, attached, undefined);
  await target.push(descriptor, bytesSource(bytes));
  await target.tag(descriptor, `${referrerTag(subject.digest)}.${suffix}`);
  return descriptor;
}

async function manifestOf(
  target: Target,
  { type, content, artifactType, annotations }: Attached,
  subject: Descriptor | undefined,
): Promise<{ descriptor: Descriptor; bytes: Uint8Array }> {
  const push = async (mediaType: string, bytes: Uint8Array): Promise<Descriptor> => {
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    await target.push(descriptor, bytesSource(bytes));
    return descriptor;
  };
  const config = await push(subject === undefined ? OCI.config : OCI.empty, Buffer.from('{}'));
  const layer = await push(type, Buffer.from(content));
  const bytes = encodeJson({
    schemaVersion: 2,
    mediaType: OCI.manifest,
    ...(artifactType === undefined ? {} : { artifactType }),
    config,
    layers: [layer],
    ...(subject === undefined ? {} : { subject: subjectOf(subject) }),
    ...(annotations === undefined ? {} : { annotations }),
  });
  return { descriptor: { mediaType: OCI.manifest, digest: digestOf(bytes), size: bytes.length }, bytes };
}
