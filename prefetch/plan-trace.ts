/** From places on the device to reads of the layers, as a binary trace has them (docs/formats.md §7). */

import { TAG_LOCAL } from '../formats/lsmt/layout.ts';
import { MAX_READ } from '../formats/prefetch/layout.ts';
import type { TraceRead } from '../formats/prefetch/writer.ts';
import type { StackedDevice } from '../reader/block-device.ts';
import type { PrefetchLine } from './lines.ts';
import type { DeviceRange, ResolvedPrefetch } from './resolve-list.ts';

/** The reads of a trace, and how much of the list they bring. */
export interface PlannedTrace {
  readonly reads: readonly TraceRead[];
  /** Bytes of file content in them. */
  readonly covered: number;
  /** Bytes of file content that lie in the source layers of index-only layers, which a trace cannot name. */
  readonly outside: { readonly bytes: number; readonly lines: readonly PrefetchLine[] };
}

/**
 * Metadata first, in the order in which it lies in the layers, then the files in the order of the list. Neighbours are
 * joined up to 1 MiB. `isFull` says whether the layer at a place of the stack is a full one: of the others the file that
 * a trace can name is on the node already.
 */
export function planTrace(
  { metadata, items }: ResolvedPrefetch,
  device: Pick<StackedDevice, 'segments'>,
  isFull: (layer: number) => boolean,
): PlannedTrace {
  const parts = (ranges: readonly DeviceRange[]) =>
    ranges.flatMap(({ offset, length }) => [...device.segments(offset, length)].filter(({ zeroed }) => !zeroed));
  const joined = new JoinedReads();
  const first = parts(metadata).filter(({ layer, tag }) => isFull(layer) && tag === TAG_LOCAL);
  for (const { layer, moffset, length } of first.sort((a, b) => a.layer - b.layer || a.moffset - b.moffset))
    joined.add(layer, moffset, length);
  let covered = 0;
  const outside = { bytes: 0, lines: new Set<PrefetchLine>() };
  for (const { line, files } of items) {
    for (const { layer, tag, moffset, length } of parts(files.flatMap(({ ranges }) => ranges))) {
      if (isFull(layer) && tag === TAG_LOCAL) {
        joined.add(layer, moffset, length);
        covered += length;
      } else {
        outside.bytes += length;
        outside.lines.add(line);
      }
    }
  }
  return { reads: joined.split(), covered, outside: { bytes: outside.bytes, lines: [...outside.lines] } };
}

class JoinedReads {
  readonly #reads: { readonly layer: number; readonly offset: number; length: number }[] = [];

  add(layer: number, offset: number, length: number): void {
    const last = this.#reads.at(-1);
    if (last?.layer === layer && last.offset + last.length === offset) last.length += length;
    else this.#reads.push({ layer, offset, length });
  }

  split(): TraceRead[] {
    return this.#reads.flatMap(({ layer, offset, length }) =>
      Array.from({ length: Math.ceil(length / MAX_READ) }, (_, i) => ({
        layer,
        offset: offset + i * MAX_READ,
        length: Math.min(MAX_READ, length - i * MAX_READ),
      })),
    );
  }
}
