/** From the text of a reference to the target and the tag or digest that it names there. */
import { AccelError } from '../base/error.ts';
import type { RegistryOptions } from '../oci/registry/options.ts';
import { openTarget } from '../oci/open.ts';
import { formatReference, parseReference, type Reference } from '../oci/reference.ts';
import type { TagLister, Target } from '../oci/storage.ts';

/** A reference, opened; close it in the end. */
export interface OpenedReference {
  readonly target: Target;
  readonly tagOrDigest: string;
  /** The reference with the tag that was meant. */
  readonly name: string;
  /** Lets go of the target's connections. */
  close(): Promise<void>;
}

/** The tag that a registry's reference means when it has none. */
const DEFAULT_TAG = 'latest';

/**
 * Opens `host[:port]/repo[:tag][@digest]` or `oci:DIR[:TAG][@DIGEST]`. Without tag and digest a registry's reference
 * means `latest` and a layout's the only tag there. Throws `reference-invalid`, `not-found`, and `usage` for a layout of
 * several tags.
 */
export async function openReference(text: string, registry: RegistryOptions = {}): Promise<OpenedReference> {
  const reference = parseReference(text);
  const target = await openTarget(reference, registry);
  const close = async () => target.close?.();
  try {
    const tagOrDigest = reference.digest ?? reference.tag ?? (await defaultTag(reference, target));
    const tag = reference.tag ?? (reference.digest === undefined ? tagOrDigest : undefined);
    return { target, tagOrDigest, name: formatReference({ ...reference, ...(tag ? { tag } : {}) }), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function defaultTag(reference: Reference, target: Target): Promise<string> {
  if (reference.kind === 'registry' || !listsTags(target)) return DEFAULT_TAG;
  const tags = await target.tags();
  if (tags.length === 1) return tags[0]!;
  throw new AccelError('usage', 'the layout holds more than one image, or none', {
    where: { target: target.name },
    expected: `a tag, as in ${target.name}:TAG`,
    found: tags.length === 0 ? 'no tags' : `the tags ${tags.join(', ')}`,
  });
}

function listsTags(target: object): target is TagLister {
  return 'tags' in target && typeof target.tags === 'function';
}
