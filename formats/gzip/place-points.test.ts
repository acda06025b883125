import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { placePoints } from './place-points.ts';
import type { GzipIndex } from './points.ts';

const SPAN = 1000;

/** An index with a point each `step` bytes, where a byte of output is half a byte of the file; windows of 10 bytes. */
function indexOf(size: number, step = 100): GzipIndex {
  const points = Array.from({ length: Math.ceil(size / step) }, (_, i) => {
    return { outputOffset: i * step, inputOffset: (i * step) / 2, bits: 0, window: new Uint8Array(10) };
  });
  return { span: step, compressedSize: size / 2, uncompressedSize: size, points };
}

const offsets = ({ points }: GzipIndex): number[] => points.map(({ outputOffset }) => outputOffset);

describe('placePoints', () => {
  it('keeps the points of the span where nothing is read first', () => {
    const placed = placePoints(indexOf(3500), SPAN, []);
    expect(placed.span).toBe(SPAN);
    expect(offsets(placed)).toEqual([0, 1000, 2000, 3000]);
  });

  it('puts points where a wanted part begins and ends', () => {
    expect(offsets(placePoints(indexOf(3500), SPAN, [{ offset: 1450, length: 120 }]))).toEqual([
      ...[0, 1000, 1400, 1600, 2000, 3000],
    ]);
  });

  it('leaves out points that spare less than their windows take', () => {
    // 100 bytes of output are 50 of the file, and a window takes 10: it has to spare 20, which a step of 30 does not.
    const fine = indexOf(3000, 30);
    expect(offsets(placePoints(fine, SPAN, [{ offset: 1030, length: 10 }]))).not.toContain(1020);
    expect(offsets(placePoints(fine, SPAN, [{ offset: 1500, length: 10 }]))).toContain(1500);
  });

  it('counts what a point of the span nearby spares already', () => {
    const index = indexOf(3500, 50);
    const wide = { ...index, points: index.points.map((point) => ({ ...point, window: new Uint8Array(30) })) };
    // From 1900 on it is 50 bytes to the point at 2000, less than two windows; from 1000 to 1750 it is 375.
    expect(offsets(placePoints(wide, SPAN, [{ offset: 1750, length: 150 }]))).toEqual([0, 1000, 1750, 2000, 3000]);
  });

  it('never makes a read longer, and keeps every point of the span', () => {
    const ranges = fc.array(fc.record({ offset: fc.nat(20_000), length: fc.nat(900) }), { maxLength: 12 });
    fc.assert(
      fc.property(ranges, fc.constantFrom(50, 100, 250), (wanted, step) => {
        const index = indexOf(21_000, step);
        const plain = placePoints(index, SPAN, []);
        const placed = placePoints(index, SPAN, wanted);
        expect(offsets(plain)).toEqual(offsets(indexOf(21_000, SPAN)));
        expect(offsets(placed)).toEqual(expect.arrayContaining(offsets(plain)));
        const read = ({ points }: GzipIndex): number =>
          wanted.reduce((sum, { offset, length }) => {
            const from = points.findLast(({ outputOffset }) => outputOffset <= offset)!;
            const to = points.find(({ outputOffset }) => outputOffset >= offset + length)?.outputOffset ?? 21_000;
            return sum + to - from.outputOffset;
          }, 0);
        expect(read(placed)).toBeLessThanOrEqual(read(plain));
      }),
      { numRuns: 300 },
    );
  });
});
