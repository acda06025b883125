/** Selects the manifests of the source to convert and records why others are skipped. */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { NamedDocument } from '../../oci/document.ts';
import type { IndexImages, ListedImage } from '../../oci/index-images.ts';
import {
  choosePlatform,
  choosePlatforms,
  formatPlatform,
  normalizePlatform,
  parsePlatform,
} from '../../oci/platform.ts';
import type { ConvertResult } from '../options.ts';
import { decodeRecord } from '../publish/record-annotations.ts';
import type { SourceImage } from './source-image.ts';

/** A skipped manifest. */
export type Skipped = ConvertResult['skipped'][number];

/** The manifests to convert, in the order of the index; one may be listed several times, for several platforms. */
export interface Selection {
  readonly manifests: readonly Descriptor[];
  readonly skipped: readonly Skipped[];
}

/**
 * Selects every Linux image of an index, or those of `platforms`. Throws `already-accelerated` for a conversion's own
 * result, `image-unsupported` when nothing is left, `not-found` when a wanted platform is not listed or not here.
 */
export function selectManifests(
  { descriptor, document }: NamedDocument,
  { images, others }: IndexImages,
  platforms: readonly string[],
): Selection {
  const where = { digest: descriptor.digest };
  if (document.kind === 'index' && decodeRecord(document.index.annotations) !== undefined) {
    throw new AccelError('already-accelerated', 'the source is already an accelerated image', {
      where,
      expected: 'an ordinary image',
      hint: 'Convert the image that it was made from.',
    });
  }
  const wanted = platforms.map(parsePlatform);
  const forLinux = images.filter(({ platform }) => normalizePlatform(platform).os === 'linux');
  const manifests = choosePlatforms(wanted, forLinux, ({ platform }) => platform);
  const skipped: Skipped[] = others.map(({ descriptor: { digest }, platform, reason }) => ({
    digest,
    platform,
    reason,
  }));
  for (const image of images) {
    if (!forLinux.includes(image)) skipped.push(skip(image, 'not for Linux'));
    else if (!manifests.includes(image)) skipped.push(skip(image, 'not asked for'));
  }
  const missing = others.filter((entry) => entry.missing);
  for (const platform of wanted) {
    if (choosePlatform(platform, images, (image) => image.platform).length > 0) continue;
    if (choosePlatform(platform, missing, (entry) => entry.descriptor.platform).length > 0) continue;
    throw noSuchPlatform(
      where,
      formatPlatform(platform),
      images.map((image) => formatPlatform(image.platform)),
    );
  }
  if (manifests.length > 0) return { manifests, skipped };
  throw nothingLeft(where, skipped, missing.length > 0);
}

/** Removes entries that are not images or are missing from a selection. Throws as {@link selectManifests}. */
export function withoutSkipped(
  { descriptor }: NamedDocument,
  { manifests, skipped }: Selection,
  more: readonly (Skipped & { readonly missing: boolean })[],
): Selection {
  if (more.length === 0) return { manifests, skipped };
  const left = manifests.filter(({ digest }) => !more.some((entry) => entry.digest === digest));
  const all = [...skipped, ...more.map(({ digest, platform, reason }) => ({ digest, platform, reason }))];
  if (left.length > 0) return { manifests: left, skipped: all };
  throw nothingLeft(
    { digest: descriptor.digest },
    all,
    more.some((entry) => entry.missing),
  );
}

/** The descriptors without those whose digest came before: builders list one image for several platforms. */
export function distinct<T extends Descriptor>(descriptors: readonly T[]): T[] {
  return descriptors.filter((one, at) => descriptors.findIndex(({ digest }) => digest === one.digest) === at);
}

/** Throws `not-found` when an image that is in no index is for none of the wanted platforms. */
export function checkPlatform(image: SourceImage, platforms: readonly string[]): void {
  if (choosePlatforms(platforms.map(parsePlatform), [image], ({ runsOn }) => runsOn).length > 0) return;
  throw noSuchPlatform({ digest: image.descriptor.digest }, platforms.join(', '), [image.platform]);
}

/** Throws `not-found` when a wanted platform is listed and its content is missing. */
export function checkHere(
  { descriptor }: NamedDocument,
  images: readonly SourceImage[],
  platforms: readonly string[],
): void {
  for (const platform of platforms) {
    if (choosePlatform(parsePlatform(platform), images, ({ runsOn }) => runsOn).length > 0) continue;
    throw new AccelError('not-found', 'the index lists this platform, but its content is not here', {
      where: { digest: descriptor.digest },
      expected: platform,
      found: images.map((image) => image.platform).join(', '),
      hint: 'Copy the image with all its platforms, or convert the ones that are here.',
    });
  }
}

function skip({ digest, platform }: ListedImage, reason: string): Skipped {
  return { digest, platform: formatPlatform(platform), reason };
}

function noSuchPlatform(where: { readonly digest: string }, expected: string, found: readonly string[]): AccelError {
  return new AccelError('not-found', 'the image has no such platform', {
    where,
    expected,
    found: found.join(', ') || 'none',
    hint: advise`Leave ${option('platform')} out to convert every Linux platform.`,
  });
}

function nothingLeft(where: { readonly digest: string }, skipped: readonly Skipped[], missing: boolean): AccelError {
  const found = skipped.map((entry) => `${entry.platform}: ${entry.reason}`).join('; ') || 'an empty index';
  if (missing) {
    return new AccelError('not-found', 'no image of the index is here', {
      where,
      expected: 'the manifest, config and layers of at least one Linux image',
      found,
      hint: 'Check that the image was copied whole.',
    });
  }
  return new AccelError('image-unsupported', 'the index holds nothing that accel converts', {
    where,
    expected: 'at least one Linux image',
    found,
  });
}
