import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readerOf } from '../zfile/testing/goldens.ts';
import { type LsmtIndex, readLsmtIndex } from './reader.ts';
import {
  type FrontRange,
  planRearrangement,
  type Rearrangement,
  rearrangedEnd,
  rearrangedHeader,
} from './rearrange.ts';
import { MemoryLayer, sectorOf } from './testing/device-model.ts';

const SECTORS = 400;
const BLOCKS = [4096, 8192, 32_768];

const read = (file: Uint8Array): Promise<LsmtIndex> => readLsmtIndex(readerOf(file), file.length);

/** The file that a plan describes; blocks are taken over whole, as a compressed file has them. */
function rearranged(file: Uint8Array, index: LsmtIndex, plan: Rearrangement, blockSize: number): Uint8Array {
  const packed = plan.packed.map(({ from, sectors }) => file.subarray(from * 512, (from + sectors) * 512));
  const pieces = [rearrangedHeader(index), ...packed];
  const size = pieces.reduce((sum, { length }) => sum + length, 0);
  pieces.push(new Uint8Array(plan.packedEnd * 512 - size));
  for (const { first, count } of plan.kept) pieces.push(file.subarray(first * blockSize, (first + count) * blockSize));
  for (const piece of rearrangedEnd(index, plan)) if (piece !== undefined) pieces.push(piece.slice());
  return Buffer.concat(pieces);
}

/** The content of each sector of the device: the number of {@link sectorOf}, zero, or nothing of this layer. */
function deviceOf(index: LsmtIndex, file: Uint8Array): (number | 'zero' | undefined)[] {
  const device: (number | 'zero' | undefined)[] = Array(SECTORS).fill(undefined);
  for (let i = 0; i < index.count; i++) {
    const { offset, length, moffset, zeroed } = index.segment(i);
    for (let at = 0; at < length; at += 512)
      device[(offset + at) / 512] = zeroed ? 'zero' : Buffer.from(file).readUInt32LE(moffset + at);
  }
  return device;
}

/** A layer of `runs` of sectors, each with a number of its own; every third run is discarded again, every fifth is zeros. */
function layerOf(runs: readonly (readonly [number, number])[]): Uint8Array {
  const layer = new MemoryLayer({
    virtualSize: SECTORS * 512,
    padIndex: true,
    uuid: '01234567-89ab-cdef-0123-456789abcdef',
  });
  const mapped = new Set<number>();
  let number = 1;
  for (const [i, [from, wanted]] of runs.entries()) {
    let to = from;
    while (to < Math.min(from + wanted, SECTORS) && !mapped.has(to)) mapped.add(to++);
    if (to === from) continue;
    if (i % 5 === 4) layer.writer.zero(from * 512, (to - from) * 512);
    else
      layer.writer.writeBlocks(from * 512, Buffer.concat(Array.from({ length: to - from }, () => sectorOf(number++))));
    if (i % 3 !== 2) continue;
    layer.writer.discard(from * 512, (to - from) * 512);
    for (let at = from; at < to; at++) mapped.delete(at);
  }
  return layer.finish();
}

const runs = fc.array(fc.tuple(fc.nat(SECTORS - 1), fc.integer({ min: 1, max: 60 })), { minLength: 1, maxLength: 25 });
const fronts = fc.array(fc.tuple(fc.nat(SECTORS - 1), fc.integer({ min: 1, max: 40 })), { minLength: 1, maxLength: 8 });

describe('planRearrangement', () => {
  it('changes no sector of the device, and puts what is wanted first, in its order', async () => {
    let planned = 0;
    await fc.assert(
      fc.asyncProperty(runs, fronts, fc.constantFrom(...BLOCKS), async (written, wanted, blockSize) => {
        const file = layerOf(written);
        const index = await read(file);
        const before = deviceOf(index, file);
        const ranges: FrontRange[] = wanted.map(([from, length]) => {
          return { offset: from * 512, length: Math.min(length, SECTORS - from) * 512 };
        });
        const plan = planRearrangement(index, ranges, blockSize);
        const numbers = ranges.flatMap(({ offset, length }) => before.slice(offset / 512, (offset + length) / 512));
        const first = [...new Set(numbers.filter((cell) => typeof cell === 'number'))];
        if (plan === undefined) {
          expect(first).toEqual([]);
          return;
        }
        planned++;
        const made = rearranged(file, index, plan, blockSize);
        const after = await read(made);
        expect(deviceOf(after, made)).toEqual(before);
        expect(after).toMatchObject({ uuid: index.uuid, parentUuid: index.parentUuid, dataEnd: plan.dataEnd * 512 });
        expect(plan.frontEnd).toBe(8 + first.length);
        expect(first.map((_, i) => Buffer.from(made).readUInt32LE((8 + i) * 512))).toEqual(first);
        // Blocks that hold nothing of it are taken over, so that they need not be compressed again.
        const touched = new Set(plan.packed.map(({ from }) => Math.floor((from * 512) / blockSize)));
        for (const { first: block, count } of plan.kept)
          for (let i = block; i < block + count; i++) expect(touched.has(i)).toBe(false);
      }),
      { numRuns: 100 },
    );
    expect(planned).toBeGreaterThan(40);
  });

  it('leaves out data that nothing maps any more', async () => {
    const layer = new MemoryLayer({ virtualSize: SECTORS * 512, padIndex: true });
    for (let i = 0; i < 48; i++) layer.writer.writeBlocks(i * 512, sectorOf(i + 1));
    layer.writer.discard(8 * 512, 32 * 512);
    const index = await read(layer.finish());
    const plan = planRearrangement(index, [{ offset: 0, length: 512 }], 4096)!;
    // The header, the block of the wanted sector, and the last one: four blocks are gone.
    expect(plan.dataEnd).toBe(8 + 8 + 8);
    expect(plan.kept).toEqual([{ first: 6, count: 1 }]);
  });

  it('plans nothing for ranges that the layer does not hold, or holds as zeros', async () => {
    const layer = new MemoryLayer({ virtualSize: SECTORS * 512, padIndex: true });
    layer.writer.writeBlocks(0, sectorOf(1));
    layer.writer.zero(8 * 512, 4096);
    const index = await read(layer.finish());
    expect(planRearrangement(index, [{ offset: 4096, length: 8192 }], 4096)).toBeUndefined();
    expect(planRearrangement(index, [], 4096)).toBeUndefined();
  });
});
