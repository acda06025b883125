import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Extent, extentsOf } from './device-extents.ts';
import { MemoryDevice, type MemoryRun } from './nbd/testing/devices.ts';

const show = (extents: Iterable<Extent>): string =>
  [...extents].map(({ offset, length, hole }) => `${hole ? '.' : '#'}${offset}+${length}`).join(' ');

it.each([
  { name: 'nothing but a hole', runs: [], from: 0, length: 1000, gap: 1, expected: '.0+1000' },
  { name: 'nothing but data', runs: [[0, 1000]], from: 10, length: 20, gap: 1, expected: '#10+20' },
  {
    name: 'runs that touch',
    runs: [
      [0, 400],
      [400, 100],
    ],
    from: 0,
    length: 1000,
    gap: 1,
    expected: '#0+500 .500+500',
  },
  {
    name: 'a hole of the smallest size',
    runs: [
      [0, 100],
      [110, 90],
    ],
    from: 0,
    length: 200,
    gap: 10,
    expected: '#0+100 .100+10 #110+90',
  },
  {
    name: 'a hole below the smallest size',
    runs: [
      [0, 100],
      [109, 91],
    ],
    from: 0,
    length: 200,
    gap: 10,
    expected: '#0+200',
  },
  { name: 'small holes at both ends', runs: [[5, 90]], from: 0, length: 100, gap: 10, expected: '#0+100' },
  {
    name: 'large holes at both ends',
    runs: [[10, 80]],
    from: 0,
    length: 100,
    gap: 10,
    expected: '.0+10 #10+80 .90+10',
  },
  { name: 'no length', runs: [[10, 80]], from: 20, length: 0, gap: 1, expected: '' },
])('$name', ({ runs, from, length, gap, expected }) => {
  const device = new MemoryDevice(
    1000,
    runs.map(([offset, size]) => ({ offset: offset!, length: size! })),
  );
  expect(show(extentsOf(device, from, length, gap))).toBe(expected);
});

it('takes a device that does not know its holes for data', () => {
  const plain = { size: 100, read: () => Promise.reject(new Error('not read')) };
  expect([...extentsOf(plain, 10, 50)]).toEqual([{ offset: 10, length: 50, hole: false }]);
});

it('covers every byte once, alternates, and calls no data a hole', () => {
  const gaps = fc.array(fc.tuple(fc.nat(40), fc.nat(40)), { maxLength: 20 });
  fc.assert(
    fc.property(gaps, fc.nat(1200), fc.nat(1200), fc.integer({ min: 1, max: 60 }), (pairs, a, b, minimal) => {
      const runs: MemoryRun[] = [];
      let end = 0;
      for (const [skip, length] of pairs) {
        runs.push({ offset: end + skip, length });
        end += skip + length;
      }
      const device = new MemoryDevice(2000, runs);
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      let at = from;
      let before: boolean | undefined;
      for (const { offset, length, hole } of extentsOf(device, from, to - from, minimal)) {
        expect(offset).toBe(at);
        expect(hole).not.toBe(before);
        if (hole) {
          expect(length).toBeGreaterThanOrEqual(minimal);
          expect(device.bytes(offset, length).every((byte) => byte === 0)).toBe(true);
        }
        at += length;
        before = hole;
      }
      expect(at).toBe(to);
    }),
  );
});
