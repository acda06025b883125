/** Compresses the blocks of a ZFile in the calling thread; a pool of workers makes one of these in each. */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { CRC32C_BLOCK_SALT, crc32c } from '../checksum/crc32c.ts';
import { Lz4Compressor } from '../kernels/lz4.ts';
import { loadZstdCompressor } from '../zstd/block.ts';
import { BLOCK_CHECKSUM_SIZE, isBlockSize, type ZFileAlgorithm } from './layout.ts';
import type { CompressedBatch } from './writer.ts';

/** A {@link CompressedBatch} at once. */
export interface SyncBlockCompressor {
  /** Compresses `batch` (at most 1 MiB) block by block; what it answers belongs to the caller. */
  compress(batch: Uint8Array): CompressedBatch;
}

/**
 * A compressor for blocks of `blockSize` bytes. `level` is zstd's (default 3, as the reference's tools have it); LZ4
 * has none. Asynchronous because zstd's WebAssembly is loaded that way.
 */
export async function makeBlockCompressor(
  algorithm: ZFileAlgorithm,
  blockSize: number,
  level?: number,
): Promise<SyncBlockCompressor> {
  if (!isBlockSize(blockSize))
    throw new AccelError('usage', 'the block size is no power of two from 4096 to 65536', { found: blockSize });
  if (algorithm === 'lz4') {
    const kernel = new Lz4Compressor();
    return {
      compress(batch) {
        const { bytes, lengths } = kernel.compress(batch, blockSize);
        // The kernel's views live until its next call; the copy is a twentieth of the time that compressing takes.
        return { bytes: bytes.slice(), lengths: lengths.slice() };
      },
    };
  }
  const compressBlock = await loadZstdCompressor(level);
  return { compress: (batch) => zstdBatch(batch, blockSize, compressBlock) };
}

function zstdBatch(
  batch: Uint8Array,
  blockSize: number,
  compressBlock: (block: Uint8Array) => Uint8Array,
): CompressedBatch {
  const blocks: Uint8Array[] = [];
  for (let from = 0; from < batch.length; from += blockSize)
    blocks.push(compressBlock(batch.subarray(from, Math.min(from + blockSize, batch.length))));
  const lengths = Uint32Array.from(blocks, (block) => block.length + BLOCK_CHECKSUM_SIZE);
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  const view = viewOf(bytes);
  let at = 0;
  for (const block of blocks) {
    bytes.set(block, at);
    at += block.length;
    view.setUint32(at, crc32c(block, CRC32C_BLOCK_SALT), true);
    at += BLOCK_CHECKSUM_SIZE;
  }
  return { bytes, lengths };
}
