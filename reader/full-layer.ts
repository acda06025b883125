/**
 * Opens a full layer in place (docs/formats.md §4). The needed parts are at the two ends of the blob: the heads of the
 * tar and the ZFile, and after the data the LSMT index, the ZFile's index and its trailer. The front says how large the
 * end is, so that it takes one request, and two where the ZFile's index is larger than what opening needs of it.
 */
import { AccelError } from '../base/error.ts';
import { readLsmtIndex } from '../formats/lsmt/reader.ts';
import { COMMIT_TAR_HEAD_SIZE, parseCommitTarHead } from '../formats/zfile/commit-tar.ts';
import { decodeZFileHeader, FLAG_OVERWRITTEN, INDEX_ENTRY_SIZE, ZFILE_SPACE } from '../formats/zfile/layout.ts';
import { ZFileReader } from '../formats/zfile/reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { BlockStore } from './block-store.ts';
import type { StackLayer } from './layer.ts';
import type { OpenContext } from './open-context.ts';
import { startupSizeOf } from './startup-size.ts';
import { Windows } from './windows.ts';
import { ZFileBlocks } from './zfile-blocks.ts';

/** A blob up to this size is fetched whole at once. */
const SMALL_BLOB = 65_536;
/**
 * Bytes fetched of the front: the tar's head, the ZFile's, and the block with the LSMT header. That header is all but zeros;
 * in blocks of 32 KiB data follows it, which compresses to less than this in most layers.
 */
const HEAD = 12_288;
/**
 * Bytes fetched of the front where it has what a start reads: metadata at first, then what every start reads. They are kept as
 * long as the layer is open. A node fetches such a piece.
 */
const STARTUP_HEAD = 262_144;
/** A blob up to this size has such a small index that its end is fetched at once, without asking the front first. */
const MEDIUM_BLOB = 6 << 20;
/** Bytes of such a blob that take a byte of index: 1024 of the data, which rarely shrinks to less than 2/5. */
const BLOB_PER_INDEX = 400;
/** Bytes fetched before the ZFile's index: the LSMT index, and the metadata that was written last. */
const BEFORE_INDEX = 12_288;
/**
 * The same in the top layer, which has the superblock, the group descriptors and the inodes of the directories that are read
 * first.
 */
const BEFORE_INDEX_ON_TOP = 49_152;
/** Bytes of a ZFile's index that are fetched whole: that of 512 MiB of data in blocks of 32 KiB, of 64 MiB in 4 KiB. */
const WHOLE_INDEX = 65_536;
/** Bytes fetched of a larger one: its first page says how long the block with the LSMT header is. */
const INDEX_START = 4096;
/** Bytes fetched of the end then: the ZFile's trailer and the index of the last few megabytes, which hold metadata. */
const TAIL = 12_288;

/** Bytes at most after the index: the ZFile's trailer, and what fills and ends the tar. */
const BEHIND_INDEX = 2048;

/** Opens the layer that `descriptor`, the `index`-th of the manifest, names; `isTop`: no other layer is above it. */
export async function openFullLayer(
  index: number,
  descriptor: Descriptor,
  context: OpenContext,
  isTop = false,
): Promise<StackLayer> {
  const { traffic, cache } = context;
  const blob = new Windows((offset, length) => traffic.range(descriptor, offset, length));
  const { size } = descriptor;
  const startup = startupSizeOf(descriptor);
  if (size < COMMIT_TAR_HEAD_SIZE)
    throw new AccelError('tar-invalid', 'the layer blob is too short to hold an overlaybd layer', {
      expected: `at least ${COMMIT_TAR_HEAD_SIZE} bytes`,
      found: size,
    });
  // Where a layer has what a start reads at its front, the metadata is there.
  const before = isTop && startup === 0 ? BEFORE_INDEX_ON_TOP : BEFORE_INDEX;
  if (size <= SMALL_BLOB) await blob.prefetch(0, size);
  else {
    const tail = size <= MEDIUM_BLOB ? Math.ceil(size / BLOB_PER_INDEX) + before + BEHIND_INDEX : 0;
    const head = Math.max(HEAD, Math.min(startup, STARTUP_HEAD));
    await Promise.all([blob.prefetch(0, head), blob.prefetch(size - tail, tail)]);
  }

  const { zfileOffset, zfileSize } = parseCommitTarHead(await blob.read(0, COMMIT_TAR_HEAD_SIZE));
  if (zfileOffset + zfileSize > size)
    throw new AccelError('tar-invalid', 'the layer blob is shorter than its tar header says', {
      expected: `${zfileOffset + zfileSize} bytes`,
      found: size,
    });
  const read = (offset: number, length: number) => blob.read(zfileOffset + offset, length);
  if (zfileSize >= 2 * ZFILE_SPACE) await prefetchEnd(blob, { zfileOffset, zfileSize, size, before });
  const zfile = await ZFileReader.open(read, zfileSize, { index: 'needed' });

  const lsmt = await readLsmtIndex((offset, length) => zfile.read(offset, length), zfile.size);
  if (lsmt.remote)
    throw new AccelError('lsmt-invalid', 'a full layer points into a source layer', {
      expected: 'segments of tag 0',
      found: 'a segment of tag 1',
    });
  const holds = (offset: number, length: number) => blob.holds(zfileOffset + offset, length);
  const front = startup === 0 ? undefined : { start: zfileOffset + ZFILE_SPACE, end: startup };
  return {
    info: {
      index,
      kind: 'full',
      descriptor,
      segments: lsmt.count,
      size,
      algorithm: zfile.algorithm,
      blockSize: zfile.blockSize,
      lsmt,
    },
    local: new BlockStore(new ZFileBlocks(zfile, { read, holds, front }), cache, 2 * index),
  };
}

/** Places in a blob: of its ZFile, its end, and the bytes to fetch before the ZFile's index. */
interface Places {
  readonly zfileOffset: number;
  readonly zfileSize: number;
  readonly size: number;
  readonly before: number;
}

/** Fetches what opening needs of the end, as the ZFile's header describes it; nothing that is here already. */
async function prefetchEnd(blob: Windows, { zfileOffset, zfileSize, size, before }: Places): Promise<void> {
  const header = decodeZFileHeader(await blob.read(zfileOffset, ZFILE_SPACE), 'header');
  const isKnown = (header.flags & FLAG_OVERWRITTEN) !== 0 && header.indexOffset <= zfileSize - ZFILE_SPACE;
  if (!isKnown) return blob.prefetch(Math.max(0, size - TAIL), Math.min(size, TAIL));
  const index = zfileOffset + header.indexOffset;
  const from = Math.max(0, index - before);
  if (header.indexSize * INDEX_ENTRY_SIZE <= WHOLE_INDEX) return blob.prefetch(from, size - from);
  await Promise.all([
    blob.prefetch(from, Math.min(index + INDEX_START, size) - from),
    blob.prefetch(size - TAIL, TAIL),
  ]);
}
