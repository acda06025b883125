/** Opens the target of a reference and determines its tag or digest. */
import { AccelError } from '../base/error.ts';
import { LAYER_RECORD } from '../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isDigestLike } from '../oci/digest.ts';
import { describeEntries, imageNames, refNameOf, tagPart } from '../oci/image-names.ts';
import { parseLocated } from '../oci/locate.ts';
import { openTarget } from '../oci/open.ts';
import { canListImages } from '../oci/powers.ts';
import { formatReference } from '../oci/reference.ts';
import { isReferrerTag } from '../oci/referrers.ts';
import type { RegistryOptions } from '../oci/registry/registry-options.ts';
import type { Target } from '../oci/storage.ts';

/** A reference, opened; close it in the end. */
export interface OpenedReference {
  readonly target: Target;
  readonly tagOrDigest: string;
  /** The reference with the tag in use. */
  readonly name: string;
  /** Lets go of the target's connections. */
  close(): Promise<void>;
}

/** The tag that a registry's reference means when it has none. */
const DEFAULT_TAG = 'latest';

/**
 * Opens `host[:port]/repo[:tag][@digest]` or `oci:DIR[:NAME][@DIGEST]`. Without tag and digest a registry's reference
 * means `latest`, and that of a layout or an archive the only image there. Throws `reference-invalid`, `not-found`, and
 * `usage` where there are several images, or none.
 */
export async function openReference(text: string, registry: RegistryOptions = {}): Promise<OpenedReference> {
  const reference = await parseLocated(text);
  const target = await openTarget(reference, registry);
  const close = async () => target.close?.();
  try {
    const tagOrDigest = reference.digest ?? reference.tag ?? (await defaultImage(target));
    const named = isDigestLike(tagOrDigest) ? { digest: tagOrDigest } : { tag: tagOrDigest };
    return { target, tagOrDigest, name: formatReference({ ...reference, ...named }), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The name of the default image, or its digest if it has no name. */
export async function defaultImage(target: Target): Promise<string> {
  if (!canListImages(target)) return DEFAULT_TAG;
  const images = (await target.images()).filter((entry) => !isBesides(entry));
  const digests = new Set(images.map(({ digest }) => digest));
  if (digests.size === 1) {
    const names = imageNames(images);
    return names.find((name) => tagPart(name) === DEFAULT_TAG) ?? names[0] ?? images[0]!.digest;
  }
  throw new AccelError('usage', digests.size === 0 ? 'there is no image' : 'there is more than one image', {
    where: { target: target.name },
    expected: `the name of one, as in ${target.name}:NAME, or its digest`,
    found: describeEntries(images) || 'no images',
  });
}

/** Whether an entry is not an image: accel's record of layers, or a list of referrers. */
function isBesides(entry: Descriptor): boolean {
  const name = refNameOf(entry);
  return name !== undefined && (name === LAYER_RECORD.tag || isReferrerTag(name));
}
