import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { FUZZ_TIMEOUT, fuzzRuns } from '../../tests/support/fuzz-runs.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { BLOCK_SIZE } from './layout.ts';
import { Ext4Reader } from './reader.ts';
import { SMALL, withImage } from './testing/image-box.ts';
import { openDevice } from './testing/reader-tree.ts';

interface Run {
  readonly offset: number;
  readonly length: number;
}

/** Bytes that are never zero, so that a hole cannot pass for data. */
function dataOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => 1 + ((i * 31) % 255));
}

/** A layer with a sparse file in the PAX 1.0 form, between two plain ones. */
function layerWith(size: number, runs: readonly Run[], data: Uint8Array): TarBuilder {
  const map = `${runs.length}\n${runs.map(({ offset, length }) => `${offset}\n${length}\n`).join('')}`;
  const body = Buffer.concat([Buffer.alloc(Math.ceil(map.length / 512) * 512), data]);
  body.write(map, 'latin1');
  return new TarBuilder().file('before', dataOf(5000)).file('GNUSparseFile.0/f', body, {
    pax: {
      'GNU.sparse.major': '1',
      'GNU.sparse.minor': '0',
      'GNU.sparse.name': 'f',
      'GNU.sparse.realsize': String(size),
    },
  });
}

/** Applies it and compares `/f` with what the runs say; the number of blocks that it takes. */
async function holdSparse(size: number, runs: readonly Run[], chunk = 4096): Promise<number> {
  const data = dataOf(runs.reduce((sum, run) => sum + run.length, 0));
  const expected = Buffer.alloc(size);
  let from = 0;
  for (const { offset, length } of runs) {
    expected.set(data.subarray(from, from + length), offset);
    from += length;
  }
  return withImage(SMALL, async (box) => {
    box.layer(layerWith(size, runs, data).file('after', dataOf(5000)), chunk);
    await box.check();
    const entries = new Map((await box.tree()).map((entry) => [entry.path, entry]));
    const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    expect(entries.get('/f')).toMatchObject({ size, sha256: hash(expected) });
    for (const path of ['/before', '/after']) expect(entries.get(path)?.sha256).toBe(hash(dataOf(5000)));
    const device = await openDevice(box.path);
    const reader = await Ext4Reader.open(device);
    const inode = (await reader.lookup(await reader.root(), 'f'))!;
    const extents = await reader.extents(inode);
    await device.close();
    return extents.reduce((sum, extent) => sum + extent.count, 0);
  });
}

describeWith({ tools: ['e2fsck'] }, 'sparse files', () => {
  const MIB = 2 ** 20;
  test.each([
    { name: 'no_data', size: 10 * MIB, runs: [], blocks: 0 },
    { name: 'hole_first', size: MIB + 4096, runs: [{ offset: MIB, length: 4096 }], blocks: 1 },
    { name: 'hole_last', size: 8 * MIB, runs: [{ offset: 0, length: 4096 }], blocks: 1 },
    { name: 'hole_last_unaligned', size: 8 * MIB + 3, runs: [{ offset: 0, length: 5 }], blocks: 1 },
    {
      name: 'runs_share_a_block',
      size: 4096,
      runs: [
        { offset: 0, length: 512 },
        { offset: 1024, length: 512 },
      ],
      blocks: 1,
    },
    { name: 'runs_of_one_byte', size: 4096, runs: [0, 2, 4094].map((offset) => ({ offset, length: 1 })), blocks: 1 },
    {
      name: 'unaligned_across_blocks',
      size: 20_000,
      runs: [
        { offset: 4095, length: 2 },
        { offset: 9000, length: 5000 },
      ],
      blocks: 4,
    },
    {
      name: 'second_begins_in_the_last_of_the_first',
      size: 20_000,
      runs: [
        { offset: 0, length: 5000 },
        { offset: 6000, length: 9000 },
      ],
      blocks: 4,
    },
    {
      name: 'five_extents',
      size: 10 * MIB,
      runs: [0, 2, 4, 6, 8].map((at) => ({ offset: at * MIB, length: 100 })),
      blocks: 5,
    },
    {
      name: 'extents_400',
      size: 400 * 8192,
      runs: Array.from({ length: 400 }, (_, i) => ({ offset: i * 8192, length: 512 })),
      blocks: 400,
    },
  ])('$name', async ({ size, runs, blocks }) => {
    expect(await holdSparse(size, runs)).toBe(blocks);
  });

  test('any runs in any chunks', { timeout: FUZZ_TIMEOUT }, async () => {
    const piece = fc.record({
      gap: fc.oneof(fc.nat(20), fc.nat(20_000)),
      length: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20_000 })),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 8 }),
        fc.oneof(fc.constant(0), fc.nat(10_000)),
        fc.constantFrom(1, 321, 4096, 100_000),
        async (pieces, tail, chunk) => {
          const runs: Run[] = [];
          let at = 0;
          for (const { gap, length } of pieces) {
            // Runs that touch are one run.
            at += runs.length > 0 ? Math.max(gap, 1) : gap;
            runs.push({ offset: at, length });
            at += length;
          }
          const touched = new Set<number>();
          for (const { offset, length } of runs) {
            const last = Math.floor((offset + length - 1) / BLOCK_SIZE);
            for (let block = Math.floor(offset / BLOCK_SIZE); block <= last; block++) touched.add(block);
          }
          expect(await holdSparse(at + tail, runs, chunk)).toBe(touched.size);
        },
      ),
      fuzzRuns(40),
    );
  });

  test.each([5, 400, 1400])('a file of %i extents gives its blocks back when it goes', async (count) => {
    const runs = Array.from({ length: count }, (_, i) => ({ offset: i * 8192, length: 512 }));
    await withImage(SMALL, async (box) => {
      box.layer(new TarBuilder());
      const { freeBlocks } = box.image.allocator;
      box.layer(layerWith(count * 8192, runs, dataOf(count * 512)));
      await box.check();
      box.layer(new TarBuilder().whiteout('f').whiteout('before'));
      await box.check();
      expect(box.image.allocator.freeBlocks).toBe(freeBlocks);
    });
  });

  test('the largest file that ext4 holds, and one byte more', async () => {
    const largest = (2 ** 32 - 1) * BLOCK_SIZE;
    const run = { offset: largest - 100, length: 100 };
    await withImage(SMALL, async (box) => {
      box.layer(layerWith(largest, [run], dataOf(100)));
      await box.check();
      const tooLarge = layerWith(largest + 1, [run], dataOf(100));
      expect(() => box.layer(tooLarge)).toThrow(expect.objectContaining({ code: 'limit-exceeded' }));
    });
  });
});
