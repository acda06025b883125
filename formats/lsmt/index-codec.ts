/** From segments in any order to the index of a layer, and what an index may hold. */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import {
  ENTRY_SIZE,
  INDEX_PAD_ENTRIES,
  type IndexEntry,
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

/** Rows of a table that are worked on between two pauses. */
export const ROWS_PER_STEP = 16_384;

/**
 * The entries of an index: the rows of a table in order, neighbours joined where the device and the file both go on, and
 * cut to lengths that an entry holds. They are put together whenever they are needed; only their order is kept.
 */
export class CanonicalSegments {
  readonly #table: SegmentTable;
  readonly #order: Uint32Array;
  /** Number of entries, once {@link survey} is done. */
  count = 0;
  /** Whether any entry counts as local (docs/formats.md §5 wants one). */
  local = false;
  /** Whether any entry has bytes in the source tar. */
  remote = false;

  constructor(table: SegmentTable) {
    this.#table = table;
    this.#order = table.order();
  }

  /**
   * Counts the entries; to be done first. `limit` bounds them: `limit-exceeded` past it. Two rows that map one sector are
   * a defect of the caller: `internal`. Yields wherever the caller may pause.
   */
  *survey(limit: number): Generator<undefined, void> {
    for (const { tag } of this.#entries()) {
      if (this.count === limit)
        throw new AccelError('limit-exceeded', 'too many segments', { expected: limit, found: limit + 1 });
      this.local ||= tag === TAG_LOCAL;
      this.remote ||= tag === TAG_REMOTE;
      if (++this.count % ROWS_PER_STEP === 0) yield;
    }
  }

  /** The index as bytes, piece by piece; each piece is valid until the next is asked for. */
  *encode(pad: boolean): Generator<Uint8Array> {
    const total = indexEntries(this.count, pad);
    const piece = new Uint8Array(PIECE_ENTRIES * ENTRY_SIZE);
    const view = viewOf(piece);
    const entries = this.#entries();
    for (let from = 0; from < total; from += PIECE_ENTRIES) {
      const size = Math.min(PIECE_ENTRIES, total - from);
      for (let e = 0; e < size; e++) {
        const next = entries.next();
        if (next.done === true) writePadding(view, e * ENTRY_SIZE);
        else writeEntry(view, e * ENTRY_SIZE, next.value);
      }
      yield piece.subarray(0, size * ENTRY_SIZE);
    }
  }

  *#entries(): Generator<IndexEntry> {
    const table = this.#table;
    const joined = new SegmentTable(1);
    for (const i of this.#order) {
      const start = table.start(i);
      if (joined.count > 0) {
        if (start < joined.end(0))
          throw new AccelError('internal', 'two segments of a layer map one sector', {
            where: { deviceOffset: start * SECTOR_SIZE },
          });
        if (joined.extend(0, start, table.length(i), table.moffset(i), table.zeroed(i), table.tag(i))) continue;
        if (joined.length(0) <= MAX_SEGMENT_SECTORS) yield joined.entry(0);
        else yield* piecesOf(joined);
        joined.clear();
      }
      joined.pushPart(table, i, 0, table.length(i));
    }
    if (joined.count > 0) yield* piecesOf(joined);
  }
}

/** The only row of a table, in pieces of lengths that an entry holds. */
function* piecesOf(row: SegmentTable): Generator<IndexEntry> {
  const length = row.length(0);
  if (length <= MAX_SEGMENT_SECTORS) return yield row.entry(0);
  const piece = new SegmentTable(1);
  for (let at = 0; at < length; at += LONGEST_PIECE) {
    piece.clear();
    piece.pushPart(row, 0, at, Math.min(LONGEST_PIECE, length - at));
    yield piece.entry(0);
  }
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
