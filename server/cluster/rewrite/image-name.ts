/** Names of images in pods: which registry they are of, and how they are written when they change. */
import { parseReference } from '../../../oci/reference.ts';

/** The name of an image, in the parts in which it is written and as it is meant. */
export interface ImageName {
  /** As in the pod. */
  readonly text: string;
  /** The name without tag and digest, as in the pod. */
  readonly name: string;
  /** Host of the registry's API, with the port; Docker Hub's for names without one. */
  readonly registry: string;
  readonly repository: string;
  /** Without one, and without a digest, `latest` is meant. */
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

/** Longest tag that a registry takes. */
const MAX_TAG = 128;
/** Longest name, host included, that every kubelet takes (distribution/reference before 0.6). */
const MAX_NAME = 255;

/** Takes a name apart; undefined for text that names no image of a registry. */
export function parseImageName(text: string): ImageName | undefined {
  // Schemes are no part of a pod's image.
  if (text.includes('://')) return undefined;
  try {
    const reference = parseReference(text);
    if (reference.kind !== 'registry') return undefined;
    const { registry, repository, tag, digest } = reference;
    const name = text.slice(
      0,
      text.length - (digest === undefined ? 0 : digest.length + 1) - (tag === undefined ? 0 : tag.length + 1),
    );
    return { text, name, registry, repository, tag, digest };
  } catch {
    return undefined;
  }
}

/** The tag that an image without a digest names. */
export function tagOf({ tag, digest }: Pick<ImageName, 'tag' | 'digest'>): string | undefined {
  return tag ?? (digest === undefined ? 'latest' : undefined);
}

/** The tags that accelerated images of a tag have, in the order of the suffixes. */
export function acceleratedTags(tag: string, suffixes: readonly string[]): readonly string[] {
  return suffixes.map((suffix) => `${tag}${suffix}`).filter((one) => one.length <= MAX_TAG);
}

/** The image's accelerated counterpart: by tag, and by digest where the image is named by digest. */
export function acceleratedName(
  image: ImageName,
  { tag, digest }: { readonly tag?: string | undefined; readonly digest: string },
): string {
  const byTag = tag === undefined ? '' : `:${tag}`;
  return image.digest === undefined && tag !== undefined
    ? `${image.name}${byTag}`
    : `${image.name}${image.tag === undefined ? '' : byTag}@${digest}`;
}

/** The same image of another host; tag and digest stay. Undefined where kubelets would not take the name. */
export function withHost(image: ImageName, host: string): string | undefined {
  const name = `${host}/${image.repository}`;
  return name.length > MAX_NAME ? undefined : `${name}${image.text.slice(image.name.length)}`;
}
