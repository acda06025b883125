/**
 * Describes the effect and the cost of an acceleration layer on a node, for `accel prefetch show` and `accel inspect`.
 */
import { TAG_LOCAL } from '../formats/lsmt/layout.ts';
import type { PrefetchContent } from '../formats/prefetch/reader.ts';
import type { AcceleratedImage } from '../reader/accelerated-image.ts';
import type { LayerPlace } from '../reader/block-device.ts';
import { parsePrefetchLines } from './lines.ts';
import { resolvePrefetch } from './resolve-list.ts';

/** An acceleration layer in figures. */
export interface PrefetchFacts {
  readonly form: 'list' | 'trace';
  /** Reads of the trace, or lines of the list that a node keeps. */
  readonly entries: number;
  /** Lines that a node skips without a word. */
  readonly skipped: readonly string[];
  /** False for a list that is too large: then a node reads nothing of it. */
  readonly read: boolean;
  /** Lines that name nothing in the image. */
  readonly missing: readonly string[];
  /** Bytes that a node reads, decompressed. */
  readonly bytes: number;
  /** Bytes of blobs that it fetches for that, of the compressed blocks that hold them. */
  readonly fetched: number;
  /** Reads at places that the layers do not have. */
  readonly outside: number;
}

/** Looks at every entry; reads the layers' indexes, and for a list the file system's metadata, but no data. */
export async function describePrefetch(
  image: AcceleratedImage,
  content: PrefetchContent,
  signal?: AbortSignal,
): Promise<PrefetchFacts> {
  if (content.form === 'trace') {
    const places = content.reads.map((read) => ({ ...read, tag: TAG_LOCAL }));
    const cost = await costOf(image, places);
    return { form: 'trace', entries: places.length, skipped: [], read: true, missing: [], ...cost };
  }
  const { kept, skipped, read } = content.list;
  const lines = kept.map((line) => (line.startsWith('/') ? line : `/${line}`));
  const { items, problems } = await resolvePrefetch(image.device, parsePrefetchLines(lines), signal);
  const places = items
    .flatMap(({ files }) => files.flatMap(({ ranges }) => ranges))
    .flatMap(({ offset, length }) => [...image.device.segments(offset, length)])
    .filter(({ zeroed }) => !zeroed)
    .map(({ layer, tag, moffset, length }) => ({ layer, tag, offset: moffset, length }));
  const missing = problems.map(({ line }) => line.path);
  const cost = await costOf(image, places);
  return { form: 'list', entries: kept.length, skipped, read, missing, ...cost };
}

async function costOf(
  { device }: AcceleratedImage,
  places: readonly LayerPlace[],
): Promise<Pick<PrefetchFacts, 'bytes' | 'fetched' | 'outside'>> {
  let bytes = 0;
  let fetched = 0;
  let outside = 0;
  for (const place of places) {
    if (!device.holds(place)) {
      outside++;
      continue;
    }
    bytes += place.length;
    fetched += await device.storedSize(place);
  }
  return { bytes, fetched, outside };
}
