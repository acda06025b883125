/** Reads the index of one layer and checks everything that a node checks, and more (docs/formats.md §3 and §5). */
import type { ReadAt } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import {
  DATA_START_SECTOR,
  decodeHeader,
  ENTRY_SIZE,
  type IndexEntry,
  LSMT_SPACE,
  type LsmtHeader,
  MAX_INDEX_ENTRIES,
  readEntry,
  SECTOR_SIZE,
  TAG_LOCAL,
  TAG_REMOTE,
} from './layout.ts';
import { type Segment, SegmentTable } from './segment-table.ts';

/** The mappings of one layer, in the order of the device and without overlap. */
export interface LsmtIndex {
  /** Bytes of the block device. */
  readonly virtualSize: number;
  readonly uuid: string;
  readonly parentUuid: string;
  /** Bytes of the LSMT file up to the end of its data section. */
  readonly dataEnd: number;
  /** Entries of the index as it is in the file, padding included. */
  readonly entries: number;
  /** Whether segments point into the source tar: an index-only layer. */
  readonly remote: boolean;
  /** Number of segments. */
  readonly count: number;
  /** The segments in sectors, column by column. */
  readonly table: SegmentTable;
  /** Segment `i` in bytes. */
  segment(i: number): Segment;
  /** Number of the first segment that ends after byte `deviceOffset`; `count` if no segment does. */
  find(deviceOffset: number): number;
}

/** Entries read at a time: 1 MiB. */
const CHUNK_ENTRIES = 65_536;
const MAX_SECTOR = Math.floor(Number.MAX_SAFE_INTEGER / SECTOR_SIZE);

/**
 * Reads header, trailer and index of the LSMT file of `size` bytes. Throws `lsmt-invalid` for anything that the format
 * does not allow; what it answers can be followed without a further check.
 */
export async function readLsmtIndex(read: ReadAt, size: number): Promise<LsmtIndex> {
  if (size < 2 * LSMT_SPACE) throw invalid('the LSMT file is too short', { fileSize: size }, 2 * LSMT_SPACE, size);
  const header = decodeHeader(await read(0, LSMT_SPACE), 'header');
  const trailer = decodeHeader(await read(size - LSMT_SPACE, LSMT_SPACE), 'trailer');
  checkTrailer(header, trailer, size);
  const table = new SegmentTable(MAX_INDEX_ENTRIES);
  const entry: IndexEntry = { start: 0, length: 0, moffset: 0, zeroed: false, tag: 0 };
  const lowestTag = { value: 255 };
  for (let from = 0; from < trailer.indexSize; from += CHUNK_ENTRIES) {
    const count = Math.min(CHUNK_ENTRIES, trailer.indexSize - from);
    const bytes = await read(trailer.indexOffset + from * ENTRY_SIZE, count * ENTRY_SIZE);
    if (bytes.length !== count * ENTRY_SIZE)
      throw invalid('the LSMT index is cut short', { entry: from }, count * ENTRY_SIZE, bytes.length);
    const view = viewOf(bytes);
    for (let i = 0; i < count; i++) {
      if (!readEntry(view, i * ENTRY_SIZE, entry)) continue;
      checkPlace(entry, from + i, table, trailer.virtualSize);
      lowestTag.value = Math.min(lowestTag.value, entry.tag);
      table.push(entry.start, entry.length, entry.moffset, entry.zeroed, entry.tag);
    }
  }
  const segments = withTagsFromZero(table, lowestTag.value);
  const remote = checkTargets(segments, trailer.indexOffset / SECTOR_SIZE);
  return {
    virtualSize: trailer.virtualSize,
    uuid: trailer.uuid,
    parentUuid: trailer.parentUuid,
    dataEnd: trailer.indexOffset,
    entries: trailer.indexSize,
    remote,
    count: segments.count,
    table: segments,
    segment: (i) => segments.segment(i),
    find: (deviceOffset) => segments.find(Math.floor(deviceOffset / SECTOR_SIZE)),
  };
}

function checkTrailer(header: LsmtHeader, trailer: LsmtHeader, size: number): void {
  const { virtualSize, indexOffset, indexSize } = trailer;
  const where = { part: 'trailer' };
  if (header.virtualSize !== virtualSize)
    throw invalid('header and trailer of the LSMT file differ in virtual size', where, header.virtualSize, virtualSize);
  if (header.uuid !== trailer.uuid || header.parentUuid !== trailer.parentUuid)
    throw invalid('header and trailer of the LSMT file differ in uuid', where, header.uuid, trailer.uuid);
  if (header.indexOffset !== 0 || header.indexSize !== 0)
    throw invalid('the LSMT header has index fields', { part: 'header' }, 0, header.indexSize);
  if (virtualSize === 0 || virtualSize % SECTOR_SIZE !== 0)
    throw invalid('the virtual size is not in whole sectors', where, `a multiple of ${SECTOR_SIZE}`, virtualSize);
  if (indexSize > MAX_INDEX_ENTRIES)
    throw invalid('the LSMT index is too large', where, `at most ${MAX_INDEX_ENTRIES} entries`, indexSize);
  const wanted = size - LSMT_SPACE - indexSize * ENTRY_SIZE;
  if (indexOffset !== wanted || indexOffset < LSMT_SPACE || indexOffset % SECTOR_SIZE !== 0)
    throw invalid('the LSMT index does not lie between data and trailer', where, wanted, indexOffset);
}

/** Order and bounds on the device. */
function checkPlace(entry: IndexEntry, number: number, before: SegmentTable, virtualSize: number): void {
  const where = { entry: number };
  if (entry.length === 0) throw invalid('a segment has no length', where, 'at least 1 sector', 0);
  const previousEnd = before.count === 0 ? 0 : before.end(before.count - 1);
  if (entry.start < previousEnd)
    throw invalid('the segments are out of order or overlap', where, `from sector ${previousEnd} on`, entry.start);
  const end = (entry.start + entry.length) * SECTOR_SIZE;
  if (end > virtualSize) throw invalid('a segment ends behind the device', where, `at most ${virtualSize}`, end);
}

/** As the runtime does, counts tags from the smallest one on. */
function withTagsFromZero(table: SegmentTable, lowest: number): SegmentTable {
  if (lowest === 0 || table.count === 0) return table;
  const out = new SegmentTable(MAX_INDEX_ENTRIES);
  for (let i = 0; i < table.count; i++)
    out.push(table.start(i), table.length(i), table.moffset(i), table.zeroed(i), table.tag(i) - lowest);
  return out;
}

/** Bounds of what is mapped to; whether the layer has remote segments. */
function checkTargets(segments: SegmentTable, dataEnd: number): boolean {
  let remote = false;
  for (let i = 0; i < segments.count; i++) {
    const tag = segments.tag(i);
    if (tag !== TAG_LOCAL && tag !== TAG_REMOTE)
      throw invalid('a segment has an unknown tag', { segment: i }, `${TAG_LOCAL} or ${TAG_REMOTE}`, tag);
    remote ||= tag === TAG_REMOTE;
    const from = segments.moffset(i);
    const end = segments.zeroed(i) ? from : from + segments.length(i);
    if (tag === TAG_LOCAL && (from < DATA_START_SECTOR || end > dataEnd))
      throw invalid('a segment points outside the data section', { segment: i }, `sector 8 to ${dataEnd}`, from);
    if (end > MAX_SECTOR) throw invalid('a segment points past 2^53 bytes', { segment: i }, MAX_SECTOR, end);
  }
  return remote;
}

function invalid(
  message: string,
  where: Record<string, string | number>,
  expected: string | number,
  found: string | number,
): AccelError {
  return new AccelError('lsmt-invalid', message, { where, expected, found });
}
