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
  /**
   * Compresses `batch` (at most 1 MiB) block by block. The bytes are put into `into`, which holds
   * {@link compressedBound} bytes, or into fresh memory; what it answers belongs to the caller.
   */
  compress(batch: Uint8Array, into?: Uint8Array): CompressedBatch;
}

/** The most bytes that the compressed blocks of a batch of `length` bytes take: LZ4's bound and zstd's are less. */
export function compressedBound(length: number, blockSize: number): number {
  return length + Math.ceil(length / blockSize) * (Math.ceil(blockSize / 128) + 96 + BLOCK_CHECKSUM_SIZE);
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
      compress(batch, into = new Uint8Array(compressedBound(batch.length, blockSize))) {
        // The kernel's views live until its next call; the copy is a twentieth of the time that compressing takes.
        const { bytes, lengths } = kernel.compress(batch, blockSize);
        into.set(bytes);
        return { bytes: into.subarray(0, bytes.length), lengths: lengths.slice() };
      },
    };
  }
  const compressBlock = await loadZstdCompressor(level);
  return {
    compress(batch, into = new Uint8Array(compressedBound(batch.length, blockSize))) {
      const lengths = new Uint32Array(Math.ceil(batch.length / blockSize));
      const view = viewOf(into);
      let at = 0;
      for (let i = 0; i < lengths.length; i++) {
        const block = compressBlock(batch.subarray(i * blockSize, (i + 1) * blockSize));
        into.set(block, at);
        at += block.length;
        view.setUint32(at, crc32c(block, CRC32C_BLOCK_SALT), true);
        at += BLOCK_CHECKSUM_SIZE;
        lengths[i] = block.length + BLOCK_CHECKSUM_SIZE;
      }
      return { bytes: into.subarray(0, at), lengths };
    },
  };
}
