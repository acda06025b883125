/** Compresses the blocks of a ZFile where their batch lies: in the calling thread, or in a worker that receives its address. */
import { AccelError } from '../../base/error.ts';
import { Lz4Compressor, type Lz4Slot, lz4Slot } from '../kernels/lz4.ts';
import { lz4Attempts } from '../kernels/lz4-levels.ts';
import { loadZstdCompressor, type ZstdBlockCompressor } from '../zstd/block.ts';
import { BatchPool, type BatchRef } from './batches.ts';
import { BLOCK_CHECKSUM_SIZE, isBlockSize, type ZFileAlgorithm } from './layout.ts';
import type { BlockCompressor } from './writer.ts';

/** Settings of the compression of blocks; plain data. */
export interface BlockFormat {
  readonly algorithm: ZFileAlgorithm;
  /** Bytes of a block: a power of two, 4096 to 65536. */
  readonly blockSize: number;
  /** zstd's level (1 unless given), or LZ4's (formats/kernels/lz4-levels.ts; default: fast). */
  readonly level?: number | undefined;
}

/** Compresses batches in place; one a thread. */
export class BatchCompressor {
  /** By the number of their memory. */
  readonly #kernels = new Map<number, Lz4Compressor>();
  readonly #zstd = new Map<number | undefined, ReturnType<typeof loadZstdCompressor>>();

  /** Compresses the first `length` bytes of a batch's input; returns the bytes of output. */
  async compress({ memory, memoryId, slot }: BatchRef, length: number, format: BlockFormat): Promise<number> {
    const kernel = this.#kernels.get(memoryId) ?? new Lz4Compressor(memory);
    this.#kernels.set(memoryId, kernel);
    if (format.algorithm === 'lz4') return kernel.compressSlot(slot, length, format);
    const loading = this.#zstd.get(format.level) ?? loadZstdCompressor(format.level);
    this.#zstd.set(format.level, loading);
    const size = compressBlocks(lz4Slot(memory, slot), length, format.blockSize, await loading);
    kernel.sealSlot(slot, Math.ceil(length / format.blockSize));
    return size;
  }
}

/** Any other compression than LZ4, in the same form but for the checksums. A block is written only where it fits. */
function compressBlocks(
  { input, output, lengths }: Lz4Slot,
  length: number,
  blockSize: number,
  compressBlock: ZstdBlockCompressor,
): number {
  let at = 0;
  for (let from = 0, i = 0; from < length; from += blockSize, i++) {
    const block = compressBlock(input.subarray(from, Math.min(from + blockSize, length)), output.byteOffset + at);
    output.set(block, at);
    at += block.length + BLOCK_CHECKSUM_SIZE;
    lengths[i] = block.length + BLOCK_CHECKSUM_SIZE;
  }
  return at;
}

/** Throws AccelError `usage` for an algorithm or a block size that there is not, or a level that LZ4 does not have. */
export function assertBlockFormat({ algorithm, blockSize, level }: BlockFormat): void {
  // The library is called from JavaScript as well, and whatever is not LZ4 would be made with zstd.
  if (algorithm !== 'lz4' && algorithm !== 'zstd')
    throw new AccelError('usage', 'no such compression of blocks', { expected: 'lz4 or zstd', found: algorithm });
  if (algorithm === 'lz4' && level !== undefined) lz4Attempts(level);
  if (!isBlockSize(blockSize))
    throw new AccelError('usage', 'the block size is no power of two from 4096 to 65536', { found: blockSize });
}

/** A compressor in the calling thread, with memory of `pool`, or its own. */
export function makeBlockCompressor(format: BlockFormat, pool: BatchPool = new BatchPool()): BlockCompressor {
  assertBlockFormat(format);
  const compressor = new BatchCompressor();
  return {
    take() {
      const batch = pool.take();
      return {
        input: batch.input,
        async compress(length) {
          const size = await compressor.compress(batch, length, format);
          return batch.result(size, length, format.blockSize);
        },
        release: () => pool.give(batch),
      };
    },
  };
}
