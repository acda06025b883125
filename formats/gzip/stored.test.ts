import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { demoBinary } from '../../fixtures/demo-content.ts';
import { STORED_BLOCK, STORED_HEADER } from './layout.ts';
import { storedRange, storedReader } from './stored.ts';
import { gzipDeterministic } from './writer.ts';

const before = Buffer.from('some text, packed\n'.repeat(50));
const content = demoBinary(7, 3 * STORED_BLOCK + 1234);
const file = gzipDeterministic([
  { bytes: before, isPacked: false },
  { bytes: content, isPacked: true },
]);
/** Where the stored blocks begin: after the part before them. */
const at = gzipDeterministic([{ bytes: before, isPacked: false }]).length - 13;

function reader(bytes: Uint8Array = file) {
  const reads: [number, number][] = [];
  const read = storedReader(
    async (offset, length) => {
      reads.push([offset, length]);
      return bytes.subarray(offset, offset + length);
    },
    at,
    content.length,
  );
  return { reads, read };
}

describe('content that the encoder stored', () => {
  it('any part of it is read alone', async () => {
    expect(gunzipSync(file).subarray(before.length).equals(content)).toBe(true);
    const edges = [0, 1, 17, STORED_BLOCK - 1, STORED_BLOCK, STORED_BLOCK + 1, 2 * STORED_BLOCK, content.length - 1];
    for (const from of edges)
      for (const to of [...edges, content.length].filter((end) => end >= from)) {
        const { read } = reader();
        expect(Buffer.from(await read(from, to - from)).equals(content.subarray(from, to))).toBe(true);
      }
  });

  it('reads no more than the part and the headers of its blocks', async () => {
    const { reads, read } = reader();
    await read(100, 50);
    await read(STORED_BLOCK - 10, 20);
    await read(STORED_BLOCK, 5);
    expect(reads).toEqual([
      [at + STORED_HEADER + 100, 50],
      [at + STORED_HEADER + STORED_BLOCK - 10, 20 + STORED_HEADER],
      [at + STORED_HEADER + STORED_BLOCK, 5 + STORED_HEADER],
    ]);
    expect(storedRange(0, content.length).length).toBe(content.length + 3 * STORED_HEADER);
  });

  it.each([0, 1, 2, 3, 4])('byte %i of a block’s header is another one: turbo-invalid', async (byte) => {
    const damaged = Uint8Array.from(file);
    damaged[at + STORED_HEADER + STORED_BLOCK + byte]! ^= 4;
    const { read } = reader(damaged);
    await expect(read(STORED_BLOCK, 10)).rejects.toMatchObject({ code: 'turbo-invalid' });
  });
});
