/**
 * The blob of an index-only layer (docs/formats.md §5): a gzip-compressed tar of `ext4.fs.meta`, `.turbo.ociv1` and, for
 * a gzip source layer, `gzip.meta`.
 */
import { AccelError } from '../../base/error.ts';
import {
  type ArchiveFile,
  type PackedArchive,
  packArchive,
  type StreamedContent,
  unpackArchive,
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

/** Bytes of an index from which on it is not packed again. */
const LARGE_INDEX = 1 << 20;

/** The most bytes that a blob may unpack to by default: the metadata of an image of some 100 GB. */
const DEFAULT_MAX_UNPACKED = 1 << 30;

/** Packs a layer in memory. The same parts give the same bytes everywhere: no times, owners or names of the machine. */
export async function packTurboLayer({ fsMeta, gzipIndex }: TurboLayer): Promise<PackedArchive> {
  return packArchive(filesOf(fsMeta, gzipIndex));
}

/** Writes what {@link packTurboLayer} packs, piece by piece, from metadata that need not be in memory. */
export async function writeTurboLayer(
  { fsMeta, gzipIndex }: { readonly fsMeta: StreamedContent; readonly gzipIndex?: Uint8Array | undefined },
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<WrittenArchive> {
  return writeArchive(filesOf(fsMeta, gzipIndex), write);
}

function filesOf(fsMeta: ArchiveFile['content'], gzipIndex: Uint8Array | undefined): ArchiveFile[] {
  return [
    { name: FS_META_NAME, content: fsMeta },
    { name: MARKER_NAME, content: new Uint8Array(0) },
    ...(gzipIndex === undefined ? [] : [indexFile(gzipIndex)]),
  ];
}

/** A large index is zlib streams, nearly all of it: packing it again takes longer than all the rest and gains 0.2 %. */
function indexFile(content: Uint8Array): ArchiveFile {
  return { name: GZIP_INDEX_NAME, content, isPacked: content.length > LARGE_INDEX };
}

/**
 * Takes a layer's blob apart. Throws `turbo-invalid` for anything but a gzip-compressed tar of the expected files, and
 * `limit-exceeded` for one that unpacks to more than `maxUnpacked` bytes.
 */
export async function unpackTurboLayer(
  blob: Uint8Array,
  maxUnpacked = DEFAULT_MAX_UNPACKED,
): Promise<TurboLayer & { readonly diffId: string }> {
  const { files, diffId } = await unpackArchive(blob, {
    name: 'the index-only layer',
    code: 'turbo-invalid',
    maxUnpacked,
  });
  const fsMeta = files.get(FS_META_NAME);
  if (fsMeta === undefined || !files.has(MARKER_NAME))
    throw new AccelError('turbo-invalid', 'the index-only layer lacks a file', {
      expected: `${FS_META_NAME}, ${MARKER_NAME}`,
      found: [...files.keys()].join(', ') || 'nothing',
    });
  const gzipIndex = files.get(GZIP_INDEX_NAME);
  return { fsMeta, ...(gzipIndex === undefined ? {} : { gzipIndex }), diffId };
}
