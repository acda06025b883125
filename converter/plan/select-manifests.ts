/** Which manifests of the source are to be converted, and why the others are not. */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { NamedDocument } from '../../oci/document.ts';
import { isIndex, isManifest } from '../../oci/media-types.ts';
import { formatPlatform, matchPlatform, normalizePlatform, type Platform, parsePlatform } from '../../oci/platform.ts';
import type { ConvertResult } from '../options.ts';
import { decodeRecord } from '../publish/record-annotations.ts';
import type { SourceImage } from './source-image.ts';

/** A manifest that is left out. */
export type Skipped = ConvertResult['skipped'][number];

/** The manifests to convert, in the order of the index; one may stand there several times, for several platforms. */
export interface Selection {
  readonly manifests: readonly Descriptor[];
  readonly skipped: readonly Skipped[];
}

/**
 * Chooses from a source: its one manifest, or of an index's `entries` every Linux image, or those of `platforms`. Throws
 * `already-accelerated` for a conversion's own result, `image-unsupported` when nothing is left, `not-found` when a
 * wanted platform is not there.
 */
export function selectManifests(
  { descriptor, document }: NamedDocument,
  entries: readonly Descriptor[],
  platforms: readonly string[],
): Selection {
  const wanted = platforms.map(parsePlatform);
  if (document.kind === 'manifest') return { manifests: [descriptor], skipped: [] };
  if (decodeRecord(document.index.annotations) !== undefined) {
    throw new AccelError('already-accelerated', 'the source is an accelerated image already', {
      where: { digest: descriptor.digest },
      expected: 'an ordinary image',
      hint: 'convert the image that it was made from',
    });
  }
  const manifests: Descriptor[] = [];
  const skipped: Skipped[] = [];
  for (const child of entries) {
    const reason = reasonToSkip(child, wanted);
    if (reason === undefined) manifests.push(child);
    else skipped.push({ digest: child.digest, platform: formatPlatform(child.platform ?? {}), reason });
  }
  const available = entries.map((child) => child.platform).filter((platform) => platform !== undefined);
  for (const platform of wanted) {
    if (available.some((candidate) => matchPlatform(platform, candidate))) continue;
    throw noSuchPlatform(
      descriptor.digest,
      formatPlatform(platform),
      available.map(formatPlatform).join(', ') || 'none',
    );
  }
  if (manifests.length === 0) {
    throw new AccelError('image-unsupported', 'the index holds nothing that accel converts', {
      where: { digest: descriptor.digest },
      expected: 'at least one Linux image',
      found: skipped.map((entry) => `${entry.platform}: ${entry.reason}`).join('; ') || 'an empty index',
    });
  }
  return { manifests, skipped };
}

/** The descriptors without those whose digest came before: builders list one image for several platforms. */
export function distinct(descriptors: readonly Descriptor[]): Descriptor[] {
  return descriptors.filter((one, at) => descriptors.findIndex(({ digest }) => digest === one.digest) === at);
}

/** Throws `not-found` when an image that stands alone is for none of the wanted platforms. */
export function checkPlatform(image: SourceImage, platforms: readonly string[]): void {
  const { os = 'linux', architecture, variant } = image.config;
  // Not parsed from text: a config may say anything, and what it says is no mistake of the caller's.
  const actual = normalizePlatform({ os, ...(architecture ? { architecture } : {}), ...(variant ? { variant } : {}) });
  if (platforms.length === 0 || platforms.some((wanted) => matchPlatform(parsePlatform(wanted), actual))) return;
  throw noSuchPlatform(image.descriptor.digest, platforms.join(', '), image.platform);
}

function noSuchPlatform(digest: string, expected: string, found: string): AccelError {
  return new AccelError('not-found', 'the image has no such platform', {
    where: { digest },
    expected,
    found,
    hint: advise`Leave ${option('platform')} out to convert every Linux platform.`,
  });
}

function reasonToSkip(child: Descriptor, wanted: readonly Platform[]): string | undefined {
  if (child.annotations?.['vnd.docker.reference.type'] !== undefined) {
    return 'an attestation; it stays with the source';
  }
  if (child.artifactType !== undefined || !(isManifest(child.mediaType) || isIndex(child.mediaType)))
    return `not an image but ${child.artifactType ?? child.mediaType}`;
  const platform = normalizePlatform(child.platform ?? {});
  if (platform.os === 'unknown') return 'no image: its platform is unknown';
  if (platform.os !== undefined && platform.os !== 'linux') return 'not for Linux';
  if (wanted.length > 0 && !wanted.some((candidate) => matchPlatform(candidate, platform))) return 'not asked for';
  return undefined;
}
