/** Which image of an index is meant. */
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { ImageIndex } from '../oci/manifest.ts';
import { isManifest } from '../oci/media-types.ts';
import { formatPlatform, matchPlatform, type Platform, parsePlatform } from '../oci/platform.ts';

/** Node's names of architectures that differ from Go's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** The platform whose images this machine runs: Linux on its architecture, which is also what its containers are. */
export function hostPlatform(architecture: string = process.arch): Platform {
  return { os: 'linux', architecture: ARCHITECTURES[architecture] ?? architecture };
}

/**
 * The descriptor of the wanted platform's image: that of `platform`, else the only one, else this machine's. Throws
 * `usage` for a malformed platform and `not-found`, with the platforms there are.
 */
export function selectImage(
  index: ImageIndex,
  platform: string | undefined,
  where: Record<string, string>,
): Descriptor {
  const images = index.manifests.filter(isImage);
  const wanted = platform === undefined ? hostPlatform() : parsePlatform(platform);
  if (platform === undefined && images.length === 1) return images[0]!;
  const found = images.find((image) => image.platform !== undefined && matchPlatform(wanted, image.platform));
  if (found !== undefined) return found;
  throw new AccelError('not-found', 'the image has no such platform', {
    where,
    expected: formatPlatform(wanted),
    found: images.map((image) => formatPlatform(image.platform ?? {})).join(', ') || 'no images',
    hint: advise`Choose one of them with ${option('platform')}.`,
  });
}

/** Attestations and other artifacts stand in an index beside the images. */
export function isImage(descriptor: Descriptor): boolean {
  return (
    (isManifest(descriptor.mediaType) || descriptor.mediaType === '') &&
    descriptor.artifactType === undefined &&
    descriptor.annotations?.['vnd.docker.reference.type'] === undefined &&
    descriptor.platform?.os !== 'unknown'
  );
}
