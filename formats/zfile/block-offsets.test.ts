/** Positions learnt from either end of an index are those of the whole, and damage does not pass for a position. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../checksum/crc32c.ts';
import { BlockOffsets } from './block-offsets.ts';
import { ZFILE_SPACE, type ZFileHeader } from './layout.ts';

interface Fixture {
  readonly offsets: BlockOffsets;
  readonly expected: readonly number[];
  readonly index: Uint8Array;
  readonly reads: [number, number][];
}

function fixture(
  count: number,
  change: (index: DataView) => void = () => undefined,
  { checksummed = false }: { readonly checksummed?: boolean } = {},
): Fixture {
  const lengths = Uint32Array.from({ length: count }, (_, i) => 100 + ((i * 37) % 3000));
  const index = new Uint8Array(lengths.buffer);
  const expected = [ZFILE_SPACE];
  for (const length of lengths) expected.push(expected.at(-1)! + length);
  if (checksummed) change(new DataView(index.buffer));
  const header: ZFileHeader = {
    flags: 0,
    indexOffset: expected.at(-1)!,
    indexSize: count,
    originalFileSize: count * 4096,
    indexCrc: crc32c(index),
    blockSize: 4096,
    algorithm: 'lz4',
  };
  if (!checksummed) change(new DataView(index.buffer));
  const reads: [number, number][] = [];
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const at = offset - header.indexOffset;
    expect(at >= 0 && at + length <= index.length).toBe(true);
    reads.push([at / 4, length / 4]);
    return index.slice(at, at + length);
  };
  return { offsets: new BlockOffsets(read, header), expected, index, reads };
}

describe('positions', () => {
  it.each([0, 1, 15, 16, 1023, 1024, 1025, 2048, 5000])('whole_%i', async (count) => {
    const { offsets, expected } = fixture(count);
    await offsets.locate(0, count);
    expect(offsets.complete).toBe(true);
    expect(Array.from({ length: count + 1 }, (_, i) => offsets.at(i))).toEqual(expected);
  });

  it('are the same in whatever order they are asked for, alone or at a time', async () => {
    const ask = fc.tuple(fc.nat(29_999), fc.integer({ min: 1, max: 500 }));
    await fc.assert(
      fc.asyncProperty(fc.array(ask, { minLength: 1, maxLength: 12 }), fc.boolean(), async (asks, together) => {
        const { offsets, expected, reads } = fixture(30_000);
        const one = async ([first, length]: readonly [number, number]): Promise<void> => {
          const last = Math.min(first + length, 30_000);
          await offsets.locate(first, last);
          for (let i = first; i <= last; i++) expect(offsets.at(i)).toBe(expected[i]);
          expect(offsets.knownFrom(first)).toBeGreaterThanOrEqual(last);
        };
        if (together) await Promise.all(asks.map(one));
        else for (const range of asks) await one(range);
        // Every entry at most once.
        expect(reads.reduce((sum, [, length]) => sum + length, 0)).toBeLessThanOrEqual(30_000);
      }),
      { numRuns: 60 },
    );
  });

  it('at the end of a large file cost a page of the index, in the middle half of it at most', async () => {
    const { offsets, reads } = fixture(100_000);
    await offsets.locate(99_990, 100_000);
    await offsets.locate(0, 1);
    expect(reads.map(([, length]) => length)).toEqual([1696, 1024]);
    await offsets.locate(50_000, 50_001);
    expect(reads.at(-1)![1]).toBeLessThan(51_000);
    expect(offsets.complete).toBe(false);
  });

  it('are not to be had before they were located', () => {
    const { offsets } = fixture(5000);
    expect(() => offsets.at(10)).toThrow(expect.objectContaining({ code: 'internal' }));
  });
});

describe('damage', () => {
  it('is found by the checksum once both ends have met', async () => {
    const { offsets } = fixture(10_000, (index) => index.setUint32(4 * 5000, 101, true));
    await offsets.locate(0, 1);
    await offsets.locate(9999, 10_000);
    await expect(offsets.locate(0, 10_000)).rejects.toMatchObject({
      code: 'zfile-invalid',
      message: expect.stringContaining('checksum'),
    });
    // And again: nothing of it is taken for known.
    await expect(offsets.locate(0, 10_000)).rejects.toMatchObject({ code: 'zfile-invalid' });
    expect(offsets.complete).toBe(false);
  });

  it.each([
    ['from the front', [[0, 10_000]]],
    [
      'from the back',
      [
        [0, 1],
        [9000, 10_000],
        [1500, 1501],
      ],
    ],
  ] as const)('a sum that is not the end of the blocks is found, %s, whatever the checksum says', async (_, asks) => {
    const { offsets } = fixture(10_000, (index) => index.setUint32(4 * 5000, 101, true), { checksummed: true });
    await expect(
      (async () => {
        for (const [first, last] of asks) await offsets.locate(first, last);
        for (let first = 9000; first > 0; first -= 500) await offsets.locate(first, 10_000);
      })(),
    ).rejects.toMatchObject({ code: 'zfile-invalid', message: expect.stringContaining('end at its index') });
  });

  it.each([
    ['a length of 4', 4],
    ['a length above 64 KiB', 65_537],
  ])('%s is refused as soon as it is read', async (_, length) => {
    const { offsets } = fixture(10_000, (index) => index.setUint32(4 * 9998, length, true));
    await expect(offsets.locate(9990, 10_000)).rejects.toMatchObject({
      code: 'zfile-invalid',
      where: { block: expect.any(Number) },
    });
  });

  it('lengths that lead out of the file are refused', async () => {
    const grow = (index: DataView): void => {
      for (let i = 5008; i < 10_000; i += 16) index.setUint32(4 * i, 60_000, true);
    };
    const { offsets } = fixture(10_000, grow);
    await expect(
      (async () => {
        for (let i = 9999; i > 5000; i -= 1000) await offsets.locate(i, 10_000);
      })(),
    ).rejects.toMatchObject({ code: 'zfile-invalid' });
  });
});
