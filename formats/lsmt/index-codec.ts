/** From segments in any order to the index of a layer, and what an index may hold. */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import {
  ENTRY_SIZE,
  INDEX_PAD_ENTRIES,
  MAX_INDEX_ENTRIES,
  MAX_SEGMENT_SECTORS,
  SECTOR_SIZE,
  TAG_LOCAL,
  TAG_REMOTE,
  writeEntry,
  writePadding,
} from './layout.ts';
import { SegmentTable } from './segment-table.ts';

/** Sectors of a file-system block; a long mapping is cut at multiples of it, so that no block is in two segments. */
const BLOCK_SECTORS = 8;
/** The longest piece that a long mapping is cut into. */
const LONGEST_PIECE = MAX_SEGMENT_SECTORS - (MAX_SEGMENT_SECTORS % BLOCK_SECTORS);

/**
 * The rows of `table` in order, neighbours joined where the device and the file both go on, and cut to lengths that an
 * entry holds. `limit` bounds the rows: `limit-exceeded` past it. Two rows that map one sector are a defect of the
 * caller: `internal`.
 */
export function canonicalSegments(table: SegmentTable, limit: number): SegmentTable {
  const order = table.order();
  const out = new SegmentTable(limit);
  const joined = new SegmentTable(1);
  const flush = (): void => {
    if (joined.count === 0) return;
    const length = joined.length(0);
    if (length <= MAX_SEGMENT_SECTORS) out.pushPart(joined, 0, 0, length);
    else
      for (let at = 0; at < length; at += LONGEST_PIECE)
        out.pushPart(joined, 0, at, Math.min(LONGEST_PIECE, length - at));
    joined.clear();
  };
  for (const i of order) {
    const start = table.start(i);
    if (joined.count > 0) {
      if (start < joined.end(0))
        throw new AccelError('internal', 'two segments of a layer map one sector', {
          where: { deviceOffset: start * SECTOR_SIZE },
        });
      if (joined.extend(0, start, table.length(i), table.moffset(i), table.zeroed(i), table.tag(i))) continue;
    }
    flush();
    joined.pushPart(table, i, 0, table.length(i));
  }
  flush();
  return out;
}

/** Entries that an index holds once it is padded (or not). */
export function indexEntries(segments: number, pad: boolean): number {
  return pad ? Math.ceil(segments / INDEX_PAD_ENTRIES) * INDEX_PAD_ENTRIES : segments;
}

/** Segments that a layer can hold: padding counts as entries too. */
export function maxSegments(pad: boolean): number {
  return pad ? MAX_INDEX_ENTRIES - (MAX_INDEX_ENTRIES % INDEX_PAD_ENTRIES) : MAX_INDEX_ENTRIES;
}

/** Entries encoded in one piece of the output: 64 KiB. */
const PIECE_ENTRIES = 4096;

/** The index as bytes, piece by piece; each piece is valid until the next is asked for. */
export function* encodeIndex(segments: SegmentTable, pad: boolean): Generator<Uint8Array> {
  const total = indexEntries(segments.count, pad);
  const piece = new Uint8Array(PIECE_ENTRIES * ENTRY_SIZE);
  const view = viewOf(piece);
  for (let from = 0; from < total; from += PIECE_ENTRIES) {
    const entries = Math.min(PIECE_ENTRIES, total - from);
    for (let e = 0; e < entries; e++) {
      const i = from + e;
      if (i < segments.count) writeEntry(view, e * ENTRY_SIZE, segments.entry(i));
      else writePadding(view, e * ENTRY_SIZE);
    }
    yield piece.subarray(0, entries * ENTRY_SIZE);
  }
}

/** Whether any row has bytes in the source tar, and whether any counts as local (docs/formats.md §5 wants one). */
export function tagsOf(segments: SegmentTable): { local: boolean; remote: boolean } {
  let local = false;
  let remote = false;
  for (let i = 0; i < segments.count; i++) {
    local ||= segments.tag(i) === TAG_LOCAL;
    remote ||= segments.tag(i) === TAG_REMOTE;
  }
  return { local, remote };
}
