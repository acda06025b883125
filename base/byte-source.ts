/** Bytes as streams that can be opened more than once. */
import { AccelError } from './error.ts';

/** Bytes that can be read from the start as often as needed (a retried upload needs them again). */
export interface BlobSource {
  open(): AsyncIterable<Uint8Array>;
}

/** Reads exactly `length` bytes from `offset`, or rejects. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** Bytes in memory as a source. */
export function bytesSource(bytes: Uint8Array): BlobSource {
  return {
    async *open() {
      if (bytes.length > 0) yield bytes;
    },
  };
}

/** Joins a stream that is known to hold at most `size` bytes. Throws `size-mismatch` if it holds another number. */
export async function collect(stream: AsyncIterable<Uint8Array>, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  let filled = 0;
  for await (const chunk of stream) {
    if (filled + chunk.length > size) {
      filled += chunk.length;
      break;
    }
    bytes.set(chunk, filled);
    filled += chunk.length;
  }
  if (filled !== size) {
    const found = filled > size ? `more than ${size} bytes` : `${filled} bytes`;
    throw new AccelError('size-mismatch', 'the stream has another length than announced', { expected: size, found });
  }
  return bytes;
}
