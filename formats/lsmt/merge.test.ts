import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readerOf } from '../zfile/testing/goldens.ts';
import { mergeIndexes } from './merge.ts';
import { type LsmtIndex, readLsmtIndex } from './reader.ts';
import { MemoryLayer, sectorOf } from './testing/device-model.ts';

const SECTORS = 64;

/** A layer that maps the sectors of `map`: 'z' zeros, 'd' data, 'r' the tar, anything else nothing. */
async function layerOf(map: string, sectors = SECTORS): Promise<LsmtIndex> {
  const layer = new MemoryLayer({ virtualSize: sectors * 512, padIndex: false });
  [...map].forEach((kind, i) => {
    if (kind === 'z') layer.writer.zero(i * 512, 512);
    if (kind === 'd') layer.writer.writeBlocks(i * 512, sectorOf(i));
    if (kind === 'r') layer.writer.mapRemote(i * 512, i * 512, 512);
  });
  if (!/[zd]/.test(map)) layer.writer.zero((sectors - 1) * 512, 512);
  const file = layer.finish();
  return readLsmtIndex(readerOf(file), file.length);
}

describe('mergeIndexes', () => {
  const mapOf = fc.array(fc.constantFrom('z', 'd', 'd', 'r', '.', '.', '.'), {
    minLength: SECTORS - 1,
    maxLength: SECTORS - 1,
  });

  it('says of every sector what the uppermost layer that maps it says', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(mapOf, { minLength: 1, maxLength: 9 }),
        fc.nat(SECTORS * 512),
        fc.nat(SECTORS * 512),
        async (maps, a, b) => {
          const layers = await Promise.all(maps.map((map) => layerOf(map.join(''))));
          const merged = mergeIndexes(layers);
          const [from, to] = [Math.min(a, b), Math.max(a, b)];
          let at = from;
          for (const piece of merged.lookup(from, to - from)) {
            expect(piece.offset).toBe(at);
            expect(piece.length).toBeGreaterThan(0);
            at += piece.length;
            for (let byte = piece.offset; byte < at; byte += 1 + (byte % 300)) {
              let layer = layers.length - 1;
              const segmentAt = (l: LsmtIndex) => {
                const i = l.find(byte);
                return i < l.count && l.segment(i).offset <= byte ? l.segment(i) : undefined;
              };
              while (layer >= 0 && segmentAt(layers[layer]!) === undefined) layer--;
              const segment = layer < 0 ? undefined : segmentAt(layers[layer]!)!;
              expect([piece.layer, piece.zeroed, piece.tag]).toEqual([
                layer,
                segment?.zeroed ?? true,
                segment?.tag ?? 0,
              ]);
              if (!piece.zeroed)
                expect(piece.moffset + byte - piece.offset).toBe(segment!.moffset + byte - segment!.offset);
            }
          }
          expect(at).toBe(to);
          for (let i = 1; i < merged.count; i++) {
            const before = merged.segment(i - 1);
            expect(before.offset + before.length).toBeLessThanOrEqual(merged.segment(i).offset);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('cuts a long lower segment at every upper one', async () => {
    const merged = mergeIndexes([await layerOf('d'.repeat(10)), await layerOf('.z..r'), await layerOf('......d')]);
    const found = Array.from({ length: merged.count }, (_, i) => merged.segment(i));
    expect(found.map(({ offset, length, layer }) => [offset / 512, length / 512, layer])).toEqual([
      [0, 1, 0],
      [1, 1, 1],
      [2, 2, 0],
      [4, 1, 1],
      [5, 1, 0],
      [6, 1, 2],
      [7, 3, 0],
    ]);
  });

  it('takes 255 layers and no more', async () => {
    const layers = await Promise.all(Array.from({ length: 256 }, (_, i) => layerOf(`${'.'.repeat(i % SECTORS)}d`)));
    const merged = mergeIndexes(layers.slice(0, 255));
    expect(merged.count).toBe(SECTORS);
    expect(merged.segment(0).layer).toBe(192);
    expect(merged.segment(SECTORS - 2).layer).toBe(254);
    expect(() => mergeIndexes(layers)).toThrow(expect.objectContaining({ code: 'limit-exceeded' }));
  });

  it('refuses an empty stack, layers of unlike size, and reads outside the device', async () => {
    expect(() => mergeIndexes([])).toThrow(expect.objectContaining({ code: 'usage' }));
    const [small, large] = [await layerOf('d'), await layerOf('d', SECTORS * 2)];
    expect(() => mergeIndexes([small, large])).toThrow(expect.objectContaining({ code: 'lsmt-invalid' }));
    const merged = mergeIndexes([small]);
    for (const [offset, length] of [
      [-1, 1],
      [0, SECTORS * 512 + 1],
      [SECTORS * 512, 1],
      [Number.NaN, 1],
    ] as const)
      expect(() => [...merged.lookup(offset, length)]).toThrow(expect.objectContaining({ code: 'usage' }));
    expect([...merged.lookup(SECTORS * 512, 0)]).toEqual([]);
  });
});
