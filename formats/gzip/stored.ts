/** Reading parts of what {@link GzipEncoder} stored: deflate blocks of known size, without compression (RFC 1951 §3.2.4). */
import type { ReadAt } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { STORED_BLOCK, STORED_HEADER } from './layout.ts';

/** Where the bytes `offset` to `offset + length` of stored content lie behind its start, headers of blocks included. */
export function storedRange(offset: number, length: number): { readonly offset: number; readonly length: number } {
  const start = placeOf(offset);
  return { offset: start, length: length === 0 ? 0 : placeOf(offset + length - 1) + 1 - start };
}

/**
 * Reads content of `size` bytes whose stored blocks begin at byte `at` of the file that `read` answers. Rejects with
 * `turbo-invalid` where a block is not what the encoder writes.
 */
export function storedReader(read: ReadAt, at: number, size: number): ReadAt {
  return async (offset, length) => {
    const first = Math.floor(offset / STORED_BLOCK);
    // From the header of the first block on, so that every block that is read is checked.
    const start = first * (STORED_BLOCK + STORED_HEADER);
    const range = storedRange(offset, length);
    const isAtStart = offset % STORED_BLOCK === 0;
    const from = isAtStart ? start : range.offset;
    const bytes = await read(at + from, range.offset + range.length - from);
    const out = new Uint8Array(length);
    for (let done = 0, seen = 0; done < length; ) {
      const inBlock = (offset + done) % STORED_BLOCK;
      if (inBlock === 0) {
        checkHeader(bytes.subarray(seen, seen + STORED_HEADER), Math.min(STORED_BLOCK, size - offset - done), at);
        seen += STORED_HEADER;
      }
      const count = Math.min(length - done, STORED_BLOCK - inBlock);
      out.set(bytes.subarray(seen, seen + count), done);
      done += count;
      seen += count;
    }
    return out;
  };
}

/** Byte behind the start of the blocks that holds byte `offset` of the content. */
function placeOf(offset: number): number {
  return offset + STORED_HEADER * (Math.floor(offset / STORED_BLOCK) + 1);
}

function checkHeader(header: Uint8Array, expected: number, at: number): void {
  const view = viewOf(header);
  const length = view.getUint16(1, true);
  if (header[0] === 0 && length === expected && view.getUint16(3, true) === (~length & 0xffff)) return;
  throw new AccelError('turbo-invalid', 'a file of the index-only layer is not stored where its annotation says', {
    where: { 'byte of the blob': at },
    expected: `a stored block of ${expected} bytes`,
    found: Buffer.from(header).toString('hex'),
    hint: 'convert the image again: the layer is damaged or its annotations were changed',
  });
}
