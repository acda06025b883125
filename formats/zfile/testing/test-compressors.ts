/** Compressors in a test's hands. */
import type { BlockCompressor, CompressedBatch } from '../writer.ts';

/** A compressor that answers what `compress` makes of the bytes of a batch. */
export function compressorOf(
  compress: (bytes: Uint8Array) => CompressedBatch | Promise<CompressedBatch>,
): BlockCompressor {
  return {
    take() {
      const input = new Uint8Array(1 << 20);
      return { input, compress: async (length) => compress(input.subarray(0, length)), release: () => undefined };
    },
  };
}

/** `inner`, but that blocks turn to rubbish when they are given back, as if another batch had taken their memory. */
export function wipingCompressor(inner: BlockCompressor, onRelease: () => void = () => undefined): BlockCompressor {
  return {
    take() {
      const batch = inner.take();
      let bytes = new Uint8Array(0);
      return {
        ...batch,
        async compress(length) {
          const answer = await batch.compress(length);
          bytes = Uint8Array.from(answer.bytes);
          return { ...answer, bytes };
        },
        release() {
          onRelease();
          bytes.fill(0xee);
          batch.release();
        },
      };
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
