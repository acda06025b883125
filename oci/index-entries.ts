/** What an index lists, with the indexes inside of it opened. */
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import type { Descriptor } from './descriptor.ts';
import { loadIndex, unlessMissing } from './document.ts';
import type { ImageIndex } from './manifest.ts';
import { isIndex } from './media-types.ts';
import { normalizePlatform } from './platform.ts';
import type { Fetcher, ReadOptions } from './storage.ts';

/** Indexes inside of one another, the outermost not counted. Nobody is known to nest more than one. */
const MAX_NESTING = 4;
/** Indexes in all: a few documents could otherwise stand for billions of entries. */
const MAX_INDEXES = 64;

/**
 * The entries of an index in their order, those of an index inside of it in its place (image-spec, image-index.md: an
 * entry may be an index). An entry without a platform has that of the index around it. Throws `limit-exceeded`.
 */
export async function indexEntries(
  fetcher: Fetcher,
  index: ImageIndex,
  options: ReadOptions,
): Promise<readonly Descriptor[]> {
  const entries: Descriptor[] = [];
  const waiting = index.manifests.map((entry) => ({ entry, depth: 0 })).reverse();
  let opened = 0;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { entry, depth } = next;
    if (!isToOpen(entry)) {
      entries.push(entry);
      continue;
    }
    opened += 1;
    if (depth >= MAX_NESTING || opened > MAX_INDEXES) throw tooDeep(entry, depth, opened);
    const inner = await unlessMissing(() => loadIndex(fetcher, entry, options));
    if (inner === undefined) {
      // Where some platforms of an index are, an index inside of it may be missing like an image.
      entries.push(entry);
      continue;
    }
    for (const child of inner.manifests.toReversed()) {
      const platform = child.platform ?? entry.platform;
      waiting.push({ entry: { ...child, ...(platform === undefined ? {} : { platform }) }, depth: depth + 1 });
    }
  }
  return entries;
}

/** An index of images: not one of artifacts, and not one for another system. */
function isToOpen({ mediaType, artifactType, platform }: Descriptor): boolean {
  const { os = 'linux' } = normalizePlatform(platform ?? {});
  return isIndex(mediaType) && artifactType === undefined && os === 'linux';
}

function tooDeep(entry: Descriptor, depth: number, opened: number): AccelError {
  return new AccelError('limit-exceeded', 'the index holds too many indexes, or too deep inside of one another', {
    where: { digest: entry.digest },
    expected: `at most ${MAX_INDEXES} indexes, ${MAX_NESTING} deep`,
    found: `index ${opened}, ${depth + 1} deep`,
    hint: advise`Convert one of the indexes inside by its digest: ${option('inputDigest', 'DIGEST')}.`,
  });
}
