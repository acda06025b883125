/**
 * The parts of an index-only layer's blob. Where its annotation says that the index is stored, the metadata before it and
 * the index's entries are fetched, in two requests at once, and a window of the index when reading starts at its point. Any
 * other blob, and a small one, is fetched whole, which checks its digest.
 */
import type { ReadAt } from '../base/byte-source.ts';
import { AccelError } from '../base/error.ts';
import { decodeGzipIndex, openGzipIndex } from '../formats/gzip/gzip-index.ts';
import { indexHeader, STORED_HEADER } from '../formats/gzip/layout.ts';
import type { SeekIndex } from '../formats/gzip/points.ts';
import { storedRange, storedReader } from '../formats/gzip/stored.ts';
import { STORED_INDEX_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { unpackTurboFront, unpackTurboLayer } from '../formats/turbo/turbo-layer.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { OpenContext } from './open-context.ts';
import { startupSizeOf } from './startup-size.ts';
import { Windows } from './windows.ts';

/** Bytes of the largest blob that is read: that of some 50 GB of source layer. */
const MAX_BLOB = 256 << 20;
/** A blob up to this size is fetched whole. */
const SMALL_BLOB = 65_536;
/** Bytes fetched of the end of a blob, and the part of the index that they are more: entries take about a hundredth. */
const LEAST_TAIL = 2048;
const INDEX_PER_TAIL = 96;
/**
 * Bytes of the index in which windows are fetched: some ten of them at first, whose files were neighbours in the tar, and
 * more where reading goes on.
 */
const FIRST_PAGE = 1 << 14;
const LATER_PAGE = 1 << 16;

/** Bytes of windows that come with the metadata where a start needs them. */
const MOST_FIRST_WINDOWS = 131_072;

/** See the module's comment. */
export interface TurboBlob {
  /** The ZFile with the metadata of the file system. */
  readonly fsMeta: Uint8Array;
  /** Absent when the source layer is a plain tar. */
  readonly gzipIndex?: SeekIndex;
  /** Hash of the uncompressed tar; known if the blob was fetched whole. */
  readonly diffId?: string;
}

/** Fetches what is needed first of a layer's blob. Throws `turbo-invalid` and what fetching throws. */
export async function openTurboBlob(descriptor: Descriptor, context: OpenContext): Promise<TurboBlob> {
  const at = storedIndexAt(descriptor);
  if (at === undefined || context.checksDigests || descriptor.size <= SMALL_BLOB) return whole(descriptor, context);
  const { size } = descriptor;
  const { traffic } = context;
  const blob = new Windows((offset, length) => traffic.range(descriptor, offset, length));
  const tail = Math.min(size - at, LEAST_TAIL + Math.ceil((size - at) / INDEX_PER_TAIL));
  const header = at + STORED_HEADER + indexHeader.size;
  const windows = Math.min(startupSizeOf(descriptor) - header, MOST_FIRST_WINDOWS);
  const front = Math.min(header + Math.max(0, windows), size - tail);
  await Promise.all([blob.prefetch(0, front), blob.prefetch(size - tail, tail)]);
  const { fsMeta, indexSize } = unpackTurboFront(await blob.read(0, at));
  const end = storedRange(0, indexSize).length + at;
  if (end > size)
    throw new AccelError('turbo-invalid', 'the index-only layer is cut short', { expected: end, found: size });
  return { fsMeta, gzipIndex: await openGzipIndex(pagedIndex(blob, at, indexSize), indexSize) };
}

async function whole(descriptor: Descriptor, { traffic }: OpenContext): Promise<TurboBlob> {
  const { fsMeta, gzipIndex, diffId } = await unpackTurboLayer(await traffic.whole(descriptor, MAX_BLOB));
  return { fsMeta, ...(gzipIndex === undefined ? {} : { gzipIndex: decodeGzipIndex(gzipIndex) }), diffId };
}

/** Reads the index, stored at `at`: what was fetched already, and the rest in pages that stay. */
function pagedIndex(blob: Windows, at: number, indexSize: number): ReadAt {
  const pages = new Map<string, Promise<void>>();
  let unit = FIRST_PAGE;
  const read = storedReader((offset, length) => blob.read(offset, length), at, indexSize);
  return async (offset, length) => {
    const needed = storedRange(offset, length);
    if (!blob.holds(at + needed.offset, needed.length)) {
      const from = Math.floor(offset / unit) * unit;
      const to = Math.min(Math.ceil((offset + length) / unit) * unit, indexSize);
      unit = LATER_PAGE;
      const key = `${from}-${to}`;
      const page = storedRange(from, to - from);
      // With the header of the first page's block, which lies before it.
      const start = at + Math.max(0, page.offset - STORED_HEADER);
      const arrival = pages.get(key) ?? blob.prefetch(start, at + page.offset + page.length - start);
      pages.set(key, arrival);
      await arrival.finally(() => pages.delete(key));
    }
    return read(offset, length);
  };
}

/** The place by the annotation; undefined without one. Throws `turbo-invalid` for a place outside the blob. */
function storedIndexAt({ annotations = {}, size }: Descriptor): number | undefined {
  const text = annotations[STORED_INDEX_ANNOTATION];
  if (text === undefined) return undefined;
  const at = Number(text);
  if (/^\d{1,12}$/.test(text) && at > 0 && at < size) return at;
  throw new AccelError('turbo-invalid', 'an annotation of the index-only layer is no place in its blob', {
    where: { annotation: STORED_INDEX_ANNOTATION },
    expected: `1 to ${size - 1}`,
    found: text.slice(0, 40),
  });
}
