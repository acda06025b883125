/** Splits a stream of bytes at line feeds. */
import { AccelError } from '../../../base/error.ts';

/** Yields each line without its end; empty ones are left out. Throws `limit-exceeded` for one of more than `limit` bytes. */
export async function* readLines(
  bytes: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, end));
      const line = decoder.decode(parts.length === 1 ? parts[0] : Buffer.concat(parts));
      parts = [];
      size = 0;
      start = end + 1;
      if (line !== '') yield line;
    }
    if (start === chunk.length) continue;
    parts.push(chunk.slice(start));
    size += chunk.length - start;
    if (size > limit) {
      throw new AccelError('limit-exceeded', 'a line is too long', { expected: `at most ${limit} bytes`, found: size });
    }
  }
  if (size > 0) yield decoder.decode(Buffer.concat(parts));
}
