/** Lists the entries of an index, with nested indexes replaced by their entries. */
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import type { Descriptor } from './descriptor.ts';
import { loadIndex, unlessMissing } from './document.ts';
import type { ImageIndex } from './manifest.ts';
import { isIndex } from './media-types.ts';
import { normalizePlatform } from './platform.ts';
import type { Fetcher, ReadOptions } from './storage.ts';

/** Largest depth of nested indexes; known images nest at most one. */
const MAX_NESTING = 4;
/** Largest number of indexes; otherwise a few documents could expand to billions of entries. */
const MAX_INDEXES = 64;

/**
 * Returns the entries of an index in order, with a nested index replaced by its entries (image-spec, image-index.md: an
 * entry may be an index). An entry without a platform inherits that of the index around it. Throws `limit-exceeded`.
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
      // A partial copy of an index may lack nested indexes as it may lack images.
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
