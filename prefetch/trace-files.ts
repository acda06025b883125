/** Finds the files that a trace reads: maps places in layers back to paths. */
import { TAG_LOCAL } from '../formats/lsmt/layout.ts';
import { MAX_READ } from '../formats/prefetch/layout.ts';
import type { TraceRead } from '../formats/prefetch/writer.ts';
import type { AcceleratedImage } from '../reader/accelerated-image.ts';
import type { ImageFiles } from '../reader/files.ts';

/**
 * Paths of the files of which a trace reads anything, in the order of its first read of each; Latin-1. Walks through
 * all of the image's metadata.
 */
export async function filesOfTrace(
  image: AcceleratedImage,
  files: ImageFiles,
  reads: readonly TraceRead[],
): Promise<string[]> {
  const touched = new TouchedPlaces(reads);
  const found: { readonly path: string; readonly first: number }[] = [];
  const seen = new Set<number>();
  for await (const stat of files.walk()) {
    if (stat.type !== 'file' || seen.has(stat.inode)) continue;
    seen.add(stat.inode);
    let first = Number.POSITIVE_INFINITY;
    for (const { offset, length } of await files.extents(stat)) {
      for (const part of image.device.segments(offset, length)) {
        if (!part.zeroed && part.tag === TAG_LOCAL)
          first = Math.min(first, touched.firstIn(part.layer, part.moffset, part.moffset + part.length));
      }
    }
    if (first < Number.POSITIVE_INFINITY) found.push({ path: stat.path, first });
  }
  return found.sort((a, b) => a.first - b.first || (a.path < b.path ? -1 : 1)).map(({ path }) => path);
}

interface Place {
  readonly start: number;
  readonly end: number;
  /** Number of the read. */
  readonly order: number;
}

class TouchedPlaces {
  /** By layer, ascending. */
  readonly #layers = new Map<number, Place[]>();

  constructor(reads: readonly TraceRead[]) {
    reads.forEach(({ layer, offset, length }, order) => {
      const places = this.#layers.get(layer) ?? [];
      places.push({ start: offset, end: offset + length, order });
      this.#layers.set(layer, places);
    });
    for (const places of this.#layers.values()) places.sort((a, b) => a.start - b.start);
  }

  /** The first read of anything from `start` to `end`; infinite if no read touches it. */
  firstIn(layer: number, start: number, end: number): number {
    const places = this.#layers.get(layer) ?? [];
    // A read has at most 1 MiB: what begins earlier than that cannot reach here.
    let low = 0;
    let high = places.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (places[middle]!.start + MAX_READ <= start) low = middle + 1;
      else high = middle;
    }
    let first = Number.POSITIVE_INFINITY;
    for (let i = low; i < places.length && places[i]!.start < end; i++)
      if (places[i]!.end > start) first = Math.min(first, places[i]!.order);
    return first;
  }
}
