/** Selects an image of an index. */
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import { type IndexImages, indexImages, type ListedImage } from '../oci/index-images.ts';
import type { ImageIndex } from '../oci/manifest.ts';
import { choosePlatform, formatPlatform, type Platform, parsePlatform } from '../oci/platform.ts';
import type { Fetcher, ReadOptions } from '../oci/storage.ts';

/** Node's names of architectures that differ from Go's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** The platform whose images this machine runs: Linux on its architecture, which is also what its containers are. */
export function hostPlatform(architecture: string = process.arch): Platform {
  return { os: 'linux', architecture: ARCHITECTURES[architecture] ?? architecture };
}

/** Where the index and its images are. */
export interface ImagePlace extends Fetcher {
  /** Whether the content of an entry exists here; omitted: all of it does. */
  isHere?(image: ListedImage): Promise<boolean>;
}

/**
 * The image of the wanted platform: that of `platform`, else the only one, else this machine's. The plain variant of an
 * architecture comes before others. Throws `usage` for a malformed platform and `not-found`, with the platforms there
 * are.
 */
export async function selectImage(
  place: ImagePlace,
  index: ImageIndex,
  platform: string | undefined,
  options: ReadOptions & { readonly where: Readonly<Record<string, string>> },
): Promise<ListedImage> {
  const wanted = platform === undefined ? hostPlatform() : parsePlatform(platform);
  const { images } = await indexImages(place, index, options);
  const here = platform === undefined ? await present(place, images) : images;
  if (platform === undefined && here.length === 1) return here[0]!;
  const [found] = choosePlatform(wanted, here, (image) => image.platform);
  if (found !== undefined) return found;
  throw new AccelError('not-found', 'the image has no such platform', {
    where: options.where,
    expected: formatPlatform(wanted),
    found: here.map((image) => formatPlatform(image.platform)).join(', ') || 'no images',
    hint: advise`Choose one of them with ${option('platform')}.`,
  });
}

/** The images whose content exists here; all images if none does, so that reading one reports what is missing. */
async function present(place: ImagePlace, images: IndexImages['images']): Promise<IndexImages['images']> {
  if (place.isHere === undefined || images.length < 2) return images;
  const here: ListedImage[] = [];
  for (const image of images) if (await place.isHere(image)) here.push(image);
  return here.length === 0 ? images : here;
}
