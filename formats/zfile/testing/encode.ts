/** A whole ZFile in memory, for tests. */
import { ZFileWriter, type ZFileWriterOptions } from '../writer.ts';

/** `content` as a ZFile, fed in chunks of `chunkSize` bytes, its header overwritten at the end. */
export async function encodeZFile(
  content: Uint8Array,
  options: Omit<ZFileWriterOptions, 'write'>,
  chunkSize: number,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const writer = new ZFileWriter({
    ...options,
    write: async (bytes) => {
      pieces.push(bytes.slice());
    },
  });
  for (let from = 0; from < content.length; from += chunkSize) {
    writer.write(content.subarray(from, from + chunkSize));
    await writer.drain();
  }
  const { header, size, originalSize } = await writer.finish();
  const out = Buffer.concat(pieces);
  out.set(header);
  if (out.length !== size || originalSize !== content.length) throw new Error(`${out.length} bytes, not ${size}`);
  return out;
}
