/** Compressors in a test's hands. */
import type { Batch, BlockCompressor, CompressedBatch } from '../writer.ts';

/** A compressor that answers what `compress` makes of the bytes of a batch; `onRelease` hears of memory given back. */
export function compressorOf(
  compress: (bytes: Uint8Array) => CompressedBatch | Promise<CompressedBatch>,
  onRelease: (batch: Batch) => void = () => undefined,
): BlockCompressor {
  return {
    take() {
      const input = new Uint8Array(1 << 20);
      const batch: Batch = {
        input,
        compress: async (length) => compress(input.subarray(0, length)),
        release: () => onRelease(batch),
      };
      return batch;
    },
  };
}

/** The blocks of `bytes`, at most 1 MiB, in memory of their own. */
export async function compressBatch(compressor: BlockCompressor, bytes: Uint8Array): Promise<CompressedBatch> {
  const batch = compressor.take();
  batch.input.set(bytes);
  const answer = await batch.compress(bytes.length);
  const copy = { bytes: answer.bytes.slice(), lengths: answer.lengths.slice() };
  batch.release();
  return copy;
}
