/**
 * The blob of an index-only layer (docs/formats.md §5): a gzip-compressed tar of `ext4.fs.meta`, `.turbo.ociv1` and, for
 * a gzip source layer, `gzip.meta`.
 */
import { AccelError } from '../../base/error.ts';
import type { PartDeflater } from '../gzip/writer.ts';
import {
  type ArchiveFile,
  type PackedArchive,
  packArchive,
  type StreamedContent,
  unpackArchive,
  unpackFront,
  type WrittenArchive,
  writeArchive,
} from '../tar/small-archive.ts';

/** Name of the metadata: a ZFile over a warp LSMT, without a tar of its own. */
export const FS_META_NAME = 'ext4.fs.meta';
/** Name of the empty file that marks the layer. */
export const MARKER_NAME = '.turbo.ociv1';
/** Name of the random-access index into a gzip source layer. */
export const GZIP_INDEX_NAME = 'gzip.meta';

/** The parts of an index-only layer. */
export interface TurboLayer {
  /** The ZFile. */
  readonly fsMeta: Uint8Array;
  /** The `ddgzidx` index; absent when the source layer is a plain tar. */
  readonly gzipIndex?: Uint8Array;
}

/** Bytes of an index from which on it is stored. */
const LARGE_INDEX = 1 << 16;

/** The most bytes that a blob may unpack to by default: the metadata of an image of some 100 GB. */
const DEFAULT_MAX_UNPACKED = 1 << 30;

/** Packs a layer in memory. The same parts give the same bytes everywhere: no times, owners or names of the machine. */
export async function packTurboLayer({ fsMeta, gzipIndex }: TurboLayer): Promise<PackedArchive> {
  return packArchive(filesOf(fsMeta, gzipIndex && [gzipIndex]));
}

/**
 * Writes what {@link packTurboLayer} packs, piece by piece, from metadata that need not be in memory. `deflate` may be in
 * another thread; omitted: here.
 */
export async function writeTurboLayer(
  { fsMeta, gzipIndex }: { readonly fsMeta: StreamedContent; readonly gzipIndex?: readonly Uint8Array[] | undefined },
  write: (bytes: Uint8Array) => Promise<void>,
  deflate?: PartDeflater,
): Promise<WrittenArchive> {
  return writeArchive(filesOf(fsMeta, gzipIndex), write, deflate);
}

function filesOf(fsMeta: ArchiveFile['content'], gzipIndex: readonly Uint8Array[] | undefined): ArchiveFile[] {
  return [
    { name: FS_META_NAME, content: fsMeta },
    { name: MARKER_NAME, content: new Uint8Array(0) },
    ...(gzipIndex === undefined ? [] : [indexFile(gzipIndex)]),
  ];
}

/**
 * An index is zlib streams, nearly all of it: packing a large one again gains 0.2 %. Stored, any part of it can be read
 * without the rest; a small one is fetched whole with the metadata.
 */
function indexFile(content: readonly Uint8Array[]): ArchiveFile {
  const size = content.reduce((sum, piece) => sum + piece.length, 0);
  return { name: GZIP_INDEX_NAME, content, isPacked: size > LARGE_INDEX };
}

/**
 * Takes a layer's blob apart. Throws `turbo-invalid` for anything but a gzip-compressed tar of the expected files, and
 * `limit-exceeded` for one that unpacks to more than `maxUnpacked` bytes.
 */
export async function unpackTurboLayer(
  blob: Uint8Array,
  maxUnpacked = DEFAULT_MAX_UNPACKED,
): Promise<TurboLayer & { readonly diffId: string }> {
  const { files, diffId } = await unpackArchive(blob, { ...UNPACK, maxUnpacked });
  const gzipIndex = files.get(GZIP_INDEX_NAME);
  return { fsMeta: fsMetaOf(files), ...(gzipIndex === undefined ? {} : { gzipIndex }), diffId };
}

/**
 * Takes the front of a layer's blob apart, up to where its index is stored: the metadata, and the size of the index. Throws
 * what {@link unpackTurboLayer} throws, also where something else than the index begins there.
 */
export function unpackTurboFront(
  front: Uint8Array,
  maxUnpacked = DEFAULT_MAX_UNPACKED,
): { readonly fsMeta: Uint8Array; readonly indexSize: number } {
  const { files, next } = unpackFront(front, { ...UNPACK, maxUnpacked });
  if (next?.name !== GZIP_INDEX_NAME)
    throw new AccelError(
      'turbo-invalid',
      'the index of the index-only layer does not begin where its annotation says',
      {
        where: { 'byte of the blob': front.length },
        expected: GZIP_INDEX_NAME,
        found: next?.name ?? 'something else',
      },
    );
  return { fsMeta: fsMetaOf(files), indexSize: next.size };
}

const UNPACK = { name: 'the index-only layer', code: 'turbo-invalid' } as const;

function fsMetaOf(files: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const fsMeta = files.get(FS_META_NAME);
  if (fsMeta !== undefined && files.has(MARKER_NAME)) return fsMeta;
  throw new AccelError('turbo-invalid', 'the index-only layer lacks a file', {
    expected: `${FS_META_NAME}, ${MARKER_NAME}`,
    found: [...files.keys()].join(', ') || 'nothing',
  });
}
