/**
 * Plans a full layer whose data lies in another order: what is read first at the front, everything else after it. The index
 * maps the device to any place in the data, so the device is the same. Compressed blocks without such data stay as they
 * are: only the blocks that lose a part are made again.
 */
import { CanonicalSegments, indexEntries, maxSegments } from './index-codec.ts';
import {
  DATA_START_SECTOR,
  encodeHeader,
  FLAG_DATA_FILE,
  FLAG_HEADER,
  FLAG_SEALED,
  MAX_INDEX_ENTRIES,
  SECTOR_SIZE,
  TAG_LOCAL,
} from './layout.ts';
import type { LsmtIndex } from './reader.ts';
import { SectorSet } from './sector-set.ts';
import { SegmentTable } from './segment-table.ts';

/** A part of the device, in bytes. */
export interface FrontRange {
  readonly offset: number;
  readonly length: number;
}

/** Sectors of the data that go elsewhere. */
export interface Move {
  /** First sector in the old file. */
  readonly from: number;
  /** First sector in the new one. */
  readonly to: number;
  readonly sectors: number;
}

/** Compressed blocks that are taken over as they are. */
export interface KeptBlocks {
  /** Number of the first in the old file. */
  readonly first: number;
  readonly count: number;
}

/** A plan; the data of the new file is the packed part, zeros up to a whole block, then the kept blocks. */
export interface Rearrangement {
  /** The data that is read first, then the rest of the blocks that it came from; in the order of the new file, without gaps. */
  readonly packed: readonly Move[];
  /** Sectors of the new file up to the end of what is read first, header included. */
  readonly frontEnd: number;
  /** Sectors of the new file up to the end of the packed part, a multiple of those of a block. */
  readonly packedEnd: number;
  readonly kept: readonly KeptBlocks[];
  /** Sectors of the new file up to the end of its data. */
  readonly dataEnd: number;
  /** The new index: the mappings of the old one, to where their data is now. */
  readonly segments: SegmentTable;
}

/** Mappings before they are joined: more than an index may hold, since its entries are joined and cut again. */
const MAX_ROWS = 4 * MAX_INDEX_ENTRIES;

/**
 * Plans the order for a layer in blocks of `blockSize` bytes: the data of the `front` ranges in their order, each sector once.
 * Leaves out ranges that the layer does not map, or maps as zeros. Undefined where nothing is left. Throws `limit-exceeded` for
 * an index that becomes too long.
 */
export function planRearrangement(
  index: LsmtIndex,
  front: Iterable<FrontRange>,
  blockSize: number,
): Rearrangement | undefined {
  const dataEnd = index.dataEnd / SECTOR_SIZE;
  const first = new SectorSet(dataEnd);
  const pieces = new Pieces();
  for (const range of front) takeRange(index, range, first, pieces);
  if (pieces.moves.length === 0) return undefined;
  const frontEnd = pieces.end;
  const live = liveSectors(index, dataEnd);
  const perBlock = blockSize / SECTOR_SIZE;
  const kept: { first: number; count: number }[] = [];
  const blocks = Math.ceil(dataEnd / perBlock);
  for (let block = 0; block < blocks; block++) {
    const start = block * perBlock;
    const end = start + perBlock;
    // The header is in the first block, and the old index may begin in the last.
    const isWhole = start >= DATA_START_SECTOR && end <= dataEnd;
    if (isWhole && !first.hasAny(start, end)) {
      if (!live.hasAny(start, end)) continue;
      const last = kept.at(-1);
      if (last !== undefined && last.first + last.count === block) last.count++;
      else kept.push({ first: block, count: 1 });
      continue;
    }
    for (let at = Math.max(start, DATA_START_SECTOR); at < Math.min(end, dataEnd); at++)
      if (live.has(at) && !first.has(at)) pieces.add(at, 1);
  }
  const packedEnd = Math.ceil(pieces.end / perBlock) * perBlock;
  const moves: Move[] = [...pieces.moves];
  let to = packedEnd;
  for (const run of kept) {
    moves.push({ from: run.first * perBlock, to, sectors: run.count * perBlock });
    to += run.count * perBlock;
  }
  const segments = movedSegments(
    index,
    moves.sort((a, b) => a.from - b.from),
  );
  return { packed: pieces.moves, frontEnd, packedEnd, kept, dataEnd: to, segments };
}

/** The header of the new file: that of the old one. */
export function rearrangedHeader(index: LsmtIndex): Uint8Array {
  return headerOf(index, FLAG_HEADER, 0, 0);
}

/**
 * The index and the trailer of the new file, piece by piece, with an undefined wherever the caller may pause. Answers the
 * entries without padding. Throws `limit-exceeded` for more entries than a node opens.
 */
export function* rearrangedEnd(
  index: LsmtIndex,
  { segments, dataEnd }: Rearrangement,
): Generator<Uint8Array | undefined, number> {
  const canonical = new CanonicalSegments(segments);
  yield* canonical.survey(maxSegments(true));
  yield* canonical.encode(true);
  yield headerOf(index, 0, dataEnd * SECTOR_SIZE, indexEntries(canonical.count, true));
  return canonical.count;
}

function headerOf(
  { virtualSize, uuid, parentUuid }: LsmtIndex,
  flag: number,
  indexOffset: number,
  indexSize: number,
): Uint8Array {
  const flags = flag | FLAG_DATA_FILE | FLAG_SEALED;
  return encodeHeader({ flags, indexOffset, indexSize, virtualSize, uuid, parentUuid });
}

/** Pieces one behind the other in the new file. */
class Pieces {
  readonly moves: { from: number; to: number; sectors: number }[] = [];
  end = DATA_START_SECTOR;

  add(from: number, sectors: number): void {
    const last = this.moves.at(-1);
    if (last !== undefined && last.from + last.sectors === from) last.sectors += sectors;
    else this.moves.push({ from, to: this.end, sectors });
    this.end += sectors;
  }
}

function takeRange(index: LsmtIndex, { offset, length }: FrontRange, taken: SectorSet, pieces: Pieces): void {
  const { table } = index;
  const from = Math.floor(offset / SECTOR_SIZE);
  const to = Math.ceil((offset + length) / SECTOR_SIZE);
  for (let i = index.find(offset); i < table.count && table.start(i) < to; i++) {
    if (table.zeroed(i) || table.tag(i) !== TAG_LOCAL) continue;
    const skip = Math.max(0, from - table.start(i));
    const place = table.moffset(i) - table.start(i);
    for (let at = table.start(i) + skip; at < Math.min(table.end(i), to); at++)
      if (taken.add(at + place)) pieces.add(at + place, 1);
  }
}

/** Sectors of the data that the index maps; what a discard left behind is not among them. */
function liveSectors({ table }: LsmtIndex, dataEnd: number): SectorSet {
  const live = new SectorSet(dataEnd);
  for (let i = 0; i < table.count; i++)
    if (!table.zeroed(i) && table.tag(i) === TAG_LOCAL)
      live.addAll(table.moffset(i), table.moffset(i) + table.length(i));
  return live;
}

/** The mappings of an index, cut where their data goes to different places. `moves` are in the order of the old file. */
function movedSegments({ table }: LsmtIndex, moves: readonly Move[]): SegmentTable {
  const out = new SegmentTable(MAX_ROWS);
  for (let i = 0; i < table.count; i++) {
    if (table.zeroed(i) || table.tag(i) !== TAG_LOCAL) {
      out.pushPart(table, i, 0, table.length(i));
      continue;
    }
    const from = table.moffset(i);
    const length = table.length(i);
    for (let done = 0, m = moveAt(moves, from); done < length; m++) {
      const move = moves[m]!;
      const skip = from + done - move.from;
      const sectors = Math.min(length - done, move.sectors - skip);
      out.push(table.start(i) + done, sectors, move.to + skip, false, TAG_LOCAL);
      done += sectors;
    }
  }
  return out;
}

/** Number of the move that holds a sector of the old file. */
function moveAt(moves: readonly Move[], sector: number): number {
  let low = 0;
  let high = moves.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (moves[middle]!.from <= sector) low = middle;
    else high = middle;
  }
  return low;
}
