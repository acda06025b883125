/** Parts that were fetched beforehand are not fetched again. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Windows } from './windows.ts';

const SIZE = 1000;
const blob = Uint8Array.from({ length: SIZE }, (_, i) => (i * 7) & 0xff);

function counted() {
  const fetched: [number, number][] = [];
  const windows = new Windows(async (offset, length) => {
    fetched.push([offset, length]);
    return blob.slice(offset, offset + length);
  });
  return { fetched, windows };
}

it('reads inside of a window fetch nothing, reads across its edge what is missing', async () => {
  const { fetched, windows } = counted();
  await windows.prefetch(100, 100);
  expect(await windows.read(120, 30)).toEqual(blob.slice(120, 150));
  expect(await windows.read(180, 40)).toEqual(blob.slice(180, 220));
  expect(await windows.read(80, 40)).toEqual(blob.slice(80, 120));
  expect(fetched).toEqual([
    [100, 100],
    [200, 20],
    [80, 20],
  ]);
});

it('windows that meet are one', async () => {
  const { fetched, windows } = counted();
  await windows.prefetch(0, 100);
  await windows.prefetch(50, 150);
  expect(await windows.read(90, 20)).toEqual(blob.slice(90, 110));
  await windows.prefetch(20, 120);
  expect(fetched).toEqual([
    [0, 100],
    [100, 100],
  ]);
});

it('always gives the right bytes', async () => {
  const range = fc
    .tuple(fc.nat(SIZE - 1), fc.integer({ min: 1, max: 300 }))
    .map(([offset, length]) => [offset, Math.min(length, SIZE - offset)] as const);
  await fc.assert(
    fc.asyncProperty(fc.array(range, { maxLength: 6 }), fc.array(range, { maxLength: 10 }), async (parts, reads) => {
      const { windows } = counted();
      for (const [offset, length] of parts) await windows.prefetch(offset, length);
      for (const [offset, length] of reads)
        expect(Buffer.from(await windows.read(offset, length))).toEqual(
          Buffer.from(blob.slice(offset, offset + length)),
        );
    }),
  );
});
