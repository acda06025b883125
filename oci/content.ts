/** Reads small pieces of content whole, and checks ranges. */
import { collect } from '../base/byte-source.ts';
import { AccelError, type ErrorPlace } from '../base/error.ts';
import type { Descriptor } from './descriptor.ts';
import type { Fetcher, ReadOptions } from './storage.ts';

/** All bytes of a small piece of content, verified. Throws `limit-exceeded` if it is larger than `limit` bytes. */
export async function fetchBytes(
  fetcher: Fetcher,
  descriptor: Descriptor,
  limit: number,
  options?: ReadOptions,
): Promise<Uint8Array> {
  if (descriptor.size > limit) {
    throw new AccelError('limit-exceeded', 'the content is larger than accel reads into memory', {
      where: { digest: descriptor.digest, mediaType: descriptor.mediaType },
      expected: `at most ${limit} bytes`,
      found: `${descriptor.size} bytes`,
    });
  }
  return collect(await fetcher.fetch(descriptor, options), descriptor.size);
}

/** Joins a stream of unknown length. Throws `limit-exceeded` past `limit` bytes. */
export async function collectWithin(
  stream: AsyncIterable<Uint8Array>,
  limit: number,
  where: ErrorPlace,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > limit) {
      throw new AccelError('limit-exceeded', 'the content is larger than accel reads into memory', {
        where,
        expected: `at most ${limit} bytes`,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Throws `size-mismatch` unless the range lies within the content. */
export function assertRange(descriptor: Descriptor, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (whole && offset + length <= descriptor.size) return;
  throw new AccelError('size-mismatch', 'a range outside of the content was asked for', {
    where: { digest: descriptor.digest, offset, length },
    expected: `a range within ${descriptor.size} bytes`,
    found: `${length} bytes from ${offset}`,
  });
}
