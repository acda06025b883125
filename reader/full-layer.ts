/**
 * Opens a full layer in place (docs/formats.md §4). The needed parts are at the two ends of the blob: the heads of the
 * tar and the ZFile, and after the data the LSMT index, the ZFile's index and its trailer. They take two or three
 * requests however large the layer is.
 */
import { AccelError } from '../base/error.ts';
import { readLsmtIndex } from '../formats/lsmt/reader.ts';
import { COMMIT_TAR_HEAD_SIZE, parseCommitTarHead } from '../formats/zfile/commit-tar.ts';
import { ZFILE_SPACE } from '../formats/zfile/layout.ts';
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
 * Bytes fetched of the front: the tar's head, the ZFile's, and the block with the LSMT header, which is all but zeros.
 */
const HEAD = 2560;
/** Bytes fetched of the front where it has what a start reads: metadata at first. They are kept as long as the layer is open. */
const STARTUP_HEAD = 65_536;
/** Bytes fetched of the end: the ZFile's trailer and the index of the last few megabytes, which hold metadata. */
const TAIL = 12_288;
/** Bytes fetched before the ZFile's index: the LSMT index, and the metadata that was written last. */
const BEFORE_INDEX = 12_288;
/** Bytes fetched along of the ZFile's index: its first page says how long the block with the LSMT header is. */
const INDEX_START = 4096;

/** A blob up to this size has such a small index that the part before it is fetched with the end. */
const MEDIUM_BLOB = 6 << 20;
/** Bytes of such a blob that take a byte of index: 1024 of the data, which rarely shrinks to less than 2/5. */
const BLOB_PER_INDEX = 400;

/** Bytes at most after the index: the ZFile's trailer, and what fills and ends the tar. */
const BEHIND_INDEX = 2048;

/** Opens the layer that `descriptor`, the `index`-th of the manifest, names. */
export async function openFullLayer(index: number, descriptor: Descriptor, context: OpenContext): Promise<StackLayer> {
  const { traffic, cache } = context;
  const blob = new Windows((offset, length) => traffic.range(descriptor, offset, length));
  const { size } = descriptor;
  const startup = startupSizeOf(descriptor);
  if (size < COMMIT_TAR_HEAD_SIZE)
    throw new AccelError('tar-invalid', 'the layer blob is too short to hold an overlaybd layer', {
      expected: `at least ${COMMIT_TAR_HEAD_SIZE} bytes`,
      found: size,
    });
  if (size <= SMALL_BLOB) await blob.prefetch(0, size);
  else
    await Promise.all([
      blob.prefetch(0, Math.max(HEAD, Math.min(startup, STARTUP_HEAD))),
      blob.prefetch(size - tailOf(size), tailOf(size)),
    ]);

  const { zfileOffset, zfileSize } = parseCommitTarHead(await blob.read(0, COMMIT_TAR_HEAD_SIZE));
  if (zfileOffset + zfileSize > size)
    throw new AccelError('tar-invalid', 'the layer blob is shorter than its tar header says', {
      expected: `${zfileOffset + zfileSize} bytes`,
      found: size,
    });
  const read = (offset: number, length: number) => blob.read(zfileOffset + offset, length);
  const zfile = await ZFileReader.open(read, zfileSize, { index: 'needed' });
  const { indexOffset } = zfile;
  const before = Math.max(0, indexOffset - BEFORE_INDEX);
  await blob.prefetch(zfileOffset + before, Math.min(indexOffset + INDEX_START, zfileSize) - before);

  const lsmt = await readLsmtIndex((offset, length) => zfile.read(offset, length), zfile.size);
  if (lsmt.remote)
    throw new AccelError('lsmt-invalid', 'a full layer points into a source layer', {
      expected: 'segments of tag 0',
      found: 'a segment of tag 1',
    });
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
    local: new BlockStore(new ZFileBlocks(zfile, read, front), cache, 2 * index),
  };
}

/** Bytes to fetch from the end of a blob of `size` bytes in the first request. */
function tailOf(size: number): number {
  return size > MEDIUM_BLOB ? TAIL : Math.max(TAIL, Math.ceil(size / BLOB_PER_INDEX) + BEFORE_INDEX + BEHIND_INDEX);
}
