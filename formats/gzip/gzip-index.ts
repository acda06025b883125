/** `gzip.meta`: the index of a gzip stream as overlaybd's runtime reads it (docs/formats.md §5). */
import { inflateSync } from 'node:zlib';
import type { ReadAt } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { crc32c } from '../checksum/crc32c.ts';
import { threadDeflater } from '../kernels/deflate.ts';
import { INDEX_ALGO_ZLIB, INDEX_HEADER_CHECKED, INDEX_MAGIC, INDEX_WINDOW, indexEntry, indexHeader } from './layout.ts';
import type { AccessPoint, GzipIndex, SeekIndex, SeekPoint } from './points.ts';

/** `dict_compress_level` as the reference writes it; no reader looks at it. */
const DECLARED_LEVEL = 6;
/** Deflate gives at most 1032 bytes for one; an index that claims more is a lie. */
const MAX_DEFLATE_RATIO = 1032;

/** An index to be encoded: what GzipStream.finish returned for a file of one member. */
export type CompleteIndex = Omit<GzipIndex, 'span'> & { readonly span: number | undefined };

/** The bytes of `gzip.meta`, as {@link gzipIndexPieces} has them. */
export function encodeGzipIndex(...index: Parameters<typeof gzipIndexPieces>): Uint8Array {
  const pieces = gzipIndexPieces(...index);
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/**
 * The bytes of `gzip.meta` in pieces: header, windows (those of the index, not copies), entries. An index without access
 * points is a mistake of the caller. `isFirst`: whether the window of a point goes before those of others; they are in the
 * order of the points unless given.
 */
export function gzipIndexPieces(
  index: CompleteIndex,
  isFirst: (point: AccessPoint) => boolean = () => false,
): Uint8Array[] {
  if (index.span === undefined || index.points.length === 0)
    throw new AccelError('internal', 'no access points were recorded for this gzip file', {
      expected: 'a span and a single member',
      found: `span ${index.span}, ${index.points.length} points`,
    });
  const entries = new Uint8Array(index.points.length * indexEntry.size);
  const places = new Map<AccessPoint, number>();
  let windowAt: number = indexHeader.size;
  for (const point of [...index.points.filter(isFirst), ...index.points.filter((one) => !isFirst(one))]) {
    places.set(point, windowAt);
    windowAt += point.window.length;
  }
  for (const [i, point] of index.points.entries()) {
    indexEntry.write(entries, i * indexEntry.size, {
      de_pos: point.outputOffset,
      en_pos: point.inputOffset,
      win_pos: places.get(point)!,
      bits: point.bits,
      win_len: point.window.length,
    });
  }
  const packed = threadDeflater().zlib(entries);

  const bytes = new Uint8Array(indexHeader.size);
  const header = {
    magic: INDEX_MAGIC,
    major_version: 1,
    minor_version: 0,
    dict_compress_algo: INDEX_ALGO_ZLIB,
    dict_compress_level: DECLARED_LEVEL,
    flag: 0,
    span: index.span,
    window: INDEX_WINDOW,
    index_size: indexEntry.size,
    index_num: index.points.length,
    gzip_file_size: index.compressedSize,
    index_file_size: windowAt + packed.length,
    uncompress_file_size: index.uncompressedSize,
    index_start: windowAt,
    index_area_len: packed.length,
  };
  indexHeader.write(bytes, 0, header);
  indexHeader.write(bytes, 0, { ...header, crc: crc32c(bytes.subarray(0, INDEX_HEADER_CHECKED)) });
  return [bytes, ...Array.from(places.keys(), (point) => point.window), packed];
}

/**
 * Reads `gzip.meta`; the windows are views of `bytes`. Throws AccelError `turbo-invalid` for everything the runtime
 * refuses, and for access points out of order or out of bounds.
 */
export function decodeGzipIndex(bytes: Uint8Array): GzipIndex {
  const header = readHeader(bytes, bytes.length);
  const entries = readEntries(bytes.subarray(header.index_start), header);
  return indexOf(
    header,
    pointsOf(header, entries, (from, length) => bytes.subarray(from, from + length)),
  );
}

/**
 * Opens the `gzip.meta` of `size` bytes that `read` answers: reads header and entries, and a window whenever a point is
 * used. Throws what {@link decodeGzipIndex} throws.
 */
export async function openGzipIndex(read: ReadAt, size: number): Promise<SeekIndex> {
  const header = readHeader(await read(0, Math.min(size, indexHeader.size)), size);
  const entries = readEntries(await read(header.index_start, header.index_area_len), header);
  return indexOf(
    header,
    pointsOf<SeekPoint['window']>(header, entries, (from, length) => () => read(from, length)),
  );
}

function indexOf<W extends SeekPoint['window']>(header: Header, points: readonly Point<W>[]): GzipIndex<Point<W>> {
  return {
    span: header.span,
    compressedSize: header.gzip_file_size,
    uncompressedSize: header.uncompress_file_size,
    points,
  };
}

/** The points of decompressed entries, each with what `windowAt` makes of its window's place. */
function pointsOf<W extends SeekPoint['window']>(
  header: Header,
  entries: Uint8Array,
  windowAt: (from: number, length: number) => W,
): Point<W>[] {
  const points: Point<W>[] = [];
  for (let i = 0; i < header.index_num; i++) {
    const check = checkOf(i);
    const entry = readFields(() => indexEntry.read(entries, i * indexEntry.size), i);
    const before = points.at(-1);
    check('window position', entry.win_pos >= indexHeader.size, `from ${indexHeader.size}`, entry.win_pos);
    const windowEnd = entry.win_pos + entry.win_len;
    check('window end', windowEnd <= header.index_start, `up to ${header.index_start}`, windowEnd);
    check('bits', entry.bits <= 7, '0 to 7', entry.bits);
    const leastInput = before?.inputOffset ?? (entry.bits > 0 ? 1 : 0);
    check('en_pos', entry.en_pos >= leastInput, `from ${leastInput}`, entry.en_pos);
    check('en_pos', entry.en_pos <= header.gzip_file_size, `up to ${header.gzip_file_size}`, entry.en_pos);
    if (before === undefined) check('first de_pos', entry.de_pos === 0, 0, entry.de_pos);
    const leastOutput = before?.outputOffset ?? 0;
    check('de_pos', entry.de_pos >= leastOutput, `from ${leastOutput}`, entry.de_pos);
    check('de_pos', entry.de_pos <= header.uncompress_file_size, header.uncompress_file_size, entry.de_pos);
    points.push({
      outputOffset: entry.de_pos,
      inputOffset: entry.en_pos,
      bits: entry.bits,
      window: windowAt(entry.win_pos, entry.win_len),
    });
  }
  return points;
}

/** A {@link SeekPoint} with one form of window. */
type Point<W extends SeekPoint['window']> = SeekPoint & { readonly window: W };
type Header = ReturnType<typeof indexHeader.read>;

/** Reads and checks the header at the start of `bytes`, of a file of `fileSize` bytes. */
function readHeader(bytes: Uint8Array, fileSize: number): Header {
  check('size', bytes.length >= indexHeader.size, `at least ${indexHeader.size}`, bytes.length);
  const crc = crc32c(bytes.subarray(0, INDEX_HEADER_CHECKED));
  const stored = new DataView(bytes.buffer, bytes.byteOffset).getUint32(INDEX_HEADER_CHECKED, true);
  check('crc', stored === crc, crc, stored);
  const header = readFields(() => indexHeader.read(bytes));
  check('magic', header.magic === INDEX_MAGIC, INDEX_MAGIC, header.magic);
  check('major_version', header.major_version === 1, 1, header.major_version);
  check(
    'dict_compress_algo',
    header.dict_compress_algo === INDEX_ALGO_ZLIB,
    INDEX_ALGO_ZLIB,
    header.dict_compress_algo,
  );
  check('window', header.window === INDEX_WINDOW, INDEX_WINDOW, header.window);
  check('index_size', header.index_size === indexEntry.size, indexEntry.size, header.index_size);
  check('index_file_size', header.index_file_size === fileSize, fileSize, header.index_file_size);
  const end = header.index_start + header.index_area_len;
  check('end of the index area', header.index_start >= indexHeader.size && end === fileSize, fileSize, end);
  check('index_num', header.index_num >= 1, 'at least 1', header.index_num);
  return header;
}

/** A structure, or AccelError `turbo-invalid` for a field that no file has a use for: past 2^53. */
function readFields<T>(read: () => T, entry?: number): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw invalid('64-bit field', 'below 2^53', cause.message, { entry, cause });
  }
}

/** Decompresses the entries' area. */
function readEntries(area: Uint8Array, header: Header): Uint8Array {
  const size = header.index_num * indexEntry.size;
  const most = header.index_area_len * MAX_DEFLATE_RATIO;
  check('index_num', size <= most, `at most ${most} bytes of entries`, size);
  let entries: Uint8Array;
  try {
    entries = inflateSync(area, { maxOutputLength: size });
  } catch (cause) {
    throw invalid('index area', `a zlib stream of ${size} bytes`, String(cause), { cause });
  }
  check('index area', entries.length === size, `${size} bytes`, entries.length);
  return entries;
}

/** The window of an access point, decompressed: {@link INDEX_WINDOW} bytes, or AccelError `turbo-invalid`. */
export function windowOf({ window: packed }: Pick<AccessPoint, 'window'>): Uint8Array {
  let window: Uint8Array;
  try {
    window = inflateSync(packed, { maxOutputLength: INDEX_WINDOW });
  } catch (cause) {
    throw invalid('window', `a zlib stream of ${INDEX_WINDOW} bytes`, String(cause), { cause });
  }
  check('window', window.length === INDEX_WINDOW, INDEX_WINDOW, window.length);
  return window;
}

type Check = (what: string, holds: boolean, expected: string | number, found: string | number) => void;

/** Checks of the index as a whole, or of one access point. */
function checkOf(entry?: number): Check {
  return (what, holds, expected, found) => {
    if (!holds) throw invalid(what, expected, found, { entry });
  };
}

const check: Check = checkOf();

function invalid(
  what: string,
  expected: string | number,
  found: string | number,
  { entry, cause }: { readonly entry?: number | undefined; readonly cause?: unknown } = {},
): AccelError {
  return new AccelError('turbo-invalid', `the gzip index has a wrong ${what}`, {
    where: { file: 'gzip.meta', ...(entry === undefined ? {} : { 'access point': entry }) },
    expected,
    found,
    hint: 'convert the image again: the index is damaged or belongs to another format version',
    ...(cause === undefined ? {} : { cause }),
  });
}
