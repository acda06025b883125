/** Classifies the content of a tag for a decision: ordinary, accelerated, or no image. The tag's name plays no part. */
import { asAccelError } from '../base/error.ts';
import { type ConversionRecord, decodeRecord, isAccelerated } from '../converter/publish/record-annotations.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { findDocument, loadImageConfig, loadManifest, type NamedDocument, unlessMissing } from '../oci/document.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { isConfig, isManifest } from '../oci/media-types.ts';
import type { Target } from '../oci/storage.ts';

/** The content of a tag or digest. */
export interface ExistingTag {
  /** Of the manifest or index. */
  readonly digest: string;
  readonly kind: 'ordinary' | 'accelerated' | 'no-image';
  /** The record that accel wrote; undefined for images that another tool converted. */
  readonly record?: ConversionRecord;
  /** Why it is not an image. */
  readonly problem?: string;
}

/** Images of an index without annotations that are examined: another tool may have converted them. */
const MAX_CHILDREN = 64;

/** Examines the content of a tag or digest; undefined if it does not exist. Throws what the target throws. */
export async function examineTag(
  target: Target,
  tagOrDigest: string,
  signal: AbortSignal,
): Promise<ExistingTag | undefined> {
  let named: NamedDocument | undefined;
  try {
    named = await findDocument(target, tagOrDigest, { signal });
  } catch (error) {
    const known = asAccelError(error);
    if (known.code !== 'image-unsupported' && known.code !== 'manifest-invalid') throw error;
    return { digest: String(known.where.digest ?? ''), kind: 'no-image', problem: known.message };
  }
  return named === undefined ? undefined : classify(target, named, signal);
}

/** Classifies a document that was read before. Throws what the target throws. */
export async function classify(target: Target, named: NamedDocument, signal: AbortSignal): Promise<ExistingTag> {
  const { document } = named;
  const { digest } = named.descriptor;
  const top = document.kind === 'index' ? document.index : document.manifest;
  const record = decodeRecord(top.annotations);
  if (record !== undefined) return { digest, kind: 'accelerated', record };
  if (document.kind === 'manifest') return { digest, ...(await kindOf(target, document.manifest, signal)) };
  for (const child of document.index.manifests.filter(mayBeImage).slice(0, MAX_CHILDREN)) {
    const manifest = await unlessMissing(() => loadManifest(target, child, { signal }));
    if (manifest !== undefined && isAccelerated(manifest)) return { digest, kind: 'accelerated' };
  }
  if (top.artifactType !== undefined) return { digest, kind: 'no-image', problem: `an artifact ${top.artifactType}` };
  return { digest, kind: 'ordinary' };
}

function mayBeImage({ mediaType, artifactType, platform }: Descriptor): boolean {
  return isManifest(mediaType) && artifactType === undefined && platform?.os !== 'unknown';
}

async function kindOf(
  target: Target,
  manifest: ImageManifest,
  signal: AbortSignal,
): Promise<Pick<ExistingTag, 'kind' | 'problem'>> {
  if (isAccelerated(manifest)) return { kind: 'accelerated' };
  const isImage =
    manifest.artifactType === undefined &&
    // A type that says so is not worth a request.
    (isConfig(manifest.config.mediaType) || (await loadImageConfig(target, manifest, { signal })) !== undefined);
  if (isImage) return { kind: 'ordinary' };
  return { kind: 'no-image', problem: `an artifact ${manifest.artifactType ?? manifest.config.mediaType}` };
}
