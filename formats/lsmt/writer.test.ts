import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readerOf } from '../zfile/testing/goldens.ts';
import { type LsmtIndex, readLsmtIndex } from './reader.ts';
import { type Cell, MemoryLayer, sectorOf } from './testing/device-model.ts';
import { LsmtWriter, ZERO_DETECTION_SEGMENTS } from './writer.ts';

const read = (file: Uint8Array): Promise<LsmtIndex> => readLsmtIndex(readerOf(file), file.length);

/** The layer as cells, from its index. */
function cellsOf(index: LsmtIndex, file: Uint8Array): Cell[] {
  const cells: Cell[] = Array(index.virtualSize / 512).fill(undefined);
  for (let i = 0; i < index.count; i++) {
    const { offset, length, moffset, zeroed, tag } = index.segment(i);
    for (let at = 0; at < length; at += 512) {
      const number = new DataView(file.buffer, file.byteOffset).getUint32(
        Math.min(moffset + at, file.length - 4),
        true,
      );
      const cell: Cell = tag === 1 ? { remote: (moffset + at) / 512 } : { local: number };
      cells[(offset + at) / 512] = zeroed ? 'zero' : cell;
    }
  }
  return cells;
}

const SECTORS = 96;
const range = fc.tuple(fc.nat(SECTORS - 1), fc.integer({ min: 1, max: 24 }));
const operation = fc.oneof(
  fc.record({ kind: fc.constant('write' as const), range }),
  fc.record({ kind: fc.constant('zero' as const), range }),
  fc.record({ kind: fc.constant('remote' as const), range, tar: fc.nat(1000) }),
  fc.record({ kind: fc.constant('discard' as const), range }),
);

describe('LsmtWriter', () => {
  it.each([
    ['of one block', 0, 700],
    ['of whole blocks and a part', 4096, 9000],
    ['away from a block', 512, 5000],
    ['that is a block of zeros but for its end', 0, 4095],
    ['whose last block is zeros', 0, 4097],
    ['whose blocks are all zeros', 0, 8192 + 512, 0],
  ])('makes one layer of a file %s, whether its padding is given or counted', (_, offset, length, fill = 7) => {
    const padded = new Uint8Array(Math.ceil((offset + length) / 4096) * 4096 - offset);
    padded.fill(fill, 0, length === 4097 ? 4096 : length);
    if (length === 4095) padded.fill(0, 0, 4094);
    const [given, counted] = [padded.length, length].map((taken) => {
      const layer = new MemoryLayer({ virtualSize: 1 << 20, padIndex: true });
      layer.writer.writeBlocks(offset, padded.subarray(0, taken), padded.length - taken);
      return layer.finish();
    });
    expect(counted).toEqual(given);
  });

  it('maps what an array of sectors would hold', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 40 }), fc.boolean(), async (operations, padIndex) => {
        const layer = new MemoryLayer({ virtualSize: SECTORS * 512, padIndex });
        const cells: Cell[] = Array(SECTORS).fill(undefined);
        let written = 0;
        // So that there is a local segment even if all others are remote.
        layer.writer.writeBlocks((SECTORS - 1) * 512, sectorOf(999));
        cells[SECTORS - 1] = { local: 999 };
        for (const op of operations) {
          const [from, wanted] = op.range;
          const to = Math.min(from + wanted, SECTORS - 1);
          if (to <= from) continue;
          const [offset, length] = [from * 512, (to - from) * 512];
          // A sector is mapped once; who maps it again says so first.
          if (op.kind !== 'discard' && cells.slice(from, to).some((cell) => cell !== undefined))
            layer.writer.discard(offset, length);
          const put = (cell: (i: number) => Cell) => {
            for (let i = from; i < to; i++) cells[i] = cell(i);
          };
          if (op.kind === 'write') {
            const bytes = Buffer.concat(Array.from({ length: to - from }, (_, i) => sectorOf(written + i + 1)));
            put((i) => ({ local: written + 1 + i - from }));
            written += to - from;
            layer.writer.writeBlocks(offset, bytes);
          } else if (op.kind === 'zero') {
            put(() => 'zero');
            layer.writer.zero(offset, length);
          } else if (op.kind === 'remote') {
            put((i) => ({ remote: op.tar + i - from }));
            layer.writer.mapRemote(offset, op.tar * 512, length);
          } else {
            put(() => undefined);
            layer.writer.discard(offset, length);
          }
        }
        const file = layer.finish();
        const index = await read(file);
        expect(cellsOf(index, file)).toEqual(cells);
        // As few segments as can be: no two neighbours could be one.
        for (let i = 1; i < index.count; i++) {
          const [a, b] = [index.segment(i - 1), index.segment(i)];
          const joins = a.zeroed === b.zeroed && a.tag === b.tag && (a.zeroed || a.moffset + a.length === b.moffset);
          expect(a.offset + a.length === b.offset && joins).toBe(false);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('turns zero blocks into segments without data, at any chunking of whole blocks', async () => {
    const blocks = 40;
    const device = new Uint8Array(blocks * 4096);
    for (let b = 0; b < blocks; b++) if (b % 3 !== 0 && b % 7 !== 0) device.fill(b + 1, b * 4096, (b + 1) * 4096);
    // Zeros at both ends are what a quick look sees; here there is data between them.
    device.fill(9, 21 * 4096 + 2000, 21 * 4096 + 2001);
    const files = [1, 3, 40].map((perCall) => {
      const layer = new MemoryLayer({ virtualSize: 1 << 20, padIndex: true });
      for (let b = 0; b < blocks; b += perCall)
        layer.writer.writeBlocks(b * 4096, device.subarray(b * 4096, Math.min(b + perCall, blocks) * 4096));
      return layer.finish();
    });
    expect(Buffer.compare(files[1]!, files[0]!)).toBe(0);
    expect(Buffer.compare(files[2]!, files[0]!)).toBe(0);
    const file = files[0]!;
    const index = await read(file);
    const found = new Uint8Array(device.length).fill(0xff);
    let data = 0;
    for (let i = 0; i < index.count; i++) {
      const { offset, length, moffset, zeroed } = index.segment(i);
      found.set(zeroed ? new Uint8Array(length) : file.subarray(moffset, moffset + length), offset);
      if (!zeroed) data += length;
    }
    expect(Buffer.compare(found, device)).toBe(0);
    const dataBlocks = Array.from({ length: blocks }, (_, b) => b).filter(
      (b) => (b % 3 !== 0 && b % 7 !== 0) || b === 21,
    );
    expect(data).toBe(dataBlocks.length * 4096);
    expect(index.dataEnd).toBe(4096 + data);
  });

  it('looks for zeros only in whole blocks of the device', async () => {
    const layer = new MemoryLayer({ virtualSize: 1 << 20, padIndex: true });
    layer.writer.writeBlocks(4096 - 512, new Uint8Array(512 + 4096 + 4095 + 1 - 512));
    const index = await read(layer.finish());
    const segments = Array.from({ length: index.count }, (_, i) => index.segment(i));
    expect(segments.map(({ offset, length, zeroed }) => [offset, length, zeroed])).toEqual([
      [3584, 512, false],
      [4096, 4096, true],
      [8192, 3584, false],
    ]);
  });

  it.each([
    [16_383, [16_383]],
    [16_384, [16_376, 8]],
    [16_376 * 2, [16_376, 16_376]],
    [16_376 * 2 + 1, [16_376, 16_376, 1]],
  ])('cuts a mapping of %d sectors at blocks', async (sectors, lengths) => {
    const layer = new MemoryLayer({ virtualSize: 1 << 30, padIndex: false });
    layer.writer.zero((1 << 30) - 512, 512);
    layer.writer.mapRemote(4096, 512, sectors * 512);
    const index = await read(layer.finish());
    const found = Array.from({ length: lengths.length }, (_, i) => index.segment(i));
    expect(found.map(({ length }) => length / 512)).toEqual(lengths);
    let at = 0;
    for (const { offset, moffset, length } of found) {
      expect([offset, moffset]).toEqual([4096 + at, 512 + at]);
      at += length;
    }
  });

  it('pads the index of a full layer', async () => {
    for (const [segments, entries] of [
      [0, 0],
      [1, 256],
      [256, 256],
      [257, 512],
    ] as const) {
      const layer = new MemoryLayer({ virtualSize: 1 << 20, padIndex: true });
      for (let i = 0; i < segments; i++) layer.writer.zero(i * 1024, 512);
      const index = await read(layer.finish());
      expect([index.count, index.entries]).toEqual([segments, entries]);
    }
  });

  it('writes uuids in upper case', async () => {
    const uuid = '01234567-89ab-cdef-0123-456789abcdef';
    const index = await read(new MemoryLayer({ virtualSize: 512, padIndex: true, parentUuid: uuid }).finish());
    expect(index).toMatchObject({ uuid: '00000000-0000-0000-0000-000000000000', parentUuid: uuid.toUpperCase() });
  });

  it.each<[string, (writer: LsmtWriter) => void, string]>([
    ['an address inside a sector', (w) => w.writeBlocks(100, new Uint8Array(512)), 'internal'],
    ['a length of half a sector', (w) => w.writeBlocks(0, new Uint8Array(256)), 'internal'],
    ['a mapping behind the device', (w) => w.zero(1 << 20, 512), 'internal'],
    ['a tar offset inside a sector', (w) => w.mapRemote(0, 1, 512), 'internal'],
    ['a block written twice', (w) => [0, 0].map((at) => w.writeBlocks(at, sectorOf(1))), 'internal'],
    ['an overlap by one sector', (w) => [w.zero(0, 1024), w.zero(512, 1024)], 'internal'],
    ['nothing but remote segments', (w) => w.mapRemote(0, 0, 512), 'internal'],
    ['two ends', (w) => w.finish(), 'internal'],
  ])('refuses %s', (_name, act, code) => {
    const writer = new LsmtWriter({ virtualSize: 1 << 20, padIndex: false, emit: () => {} });
    expect(() => {
      act(writer);
      writer.finish();
    }).toThrow(expect.objectContaining({ code }));
  });

  it.each([0, 100, -512, Number.NaN])('refuses a virtual size of %d', (virtualSize) => {
    expect(() => new LsmtWriter({ virtualSize, padIndex: true, emit: () => {} })).toThrow(/virtual size/);
  });
});

describe('a layer of very many segments', () => {
  const make = (padIndex: boolean) => new LsmtWriter({ virtualSize: 2 ** 36, padIndex, emit: () => {} });

  it.each<[string, boolean, number]>([
    ['an index-only layer', false, 1_000_000],
    ['a full layer, whose padding counts', true, 999_936],
  ])('%s holds exactly so many', (_name, padIndex, limit) => {
    const writer = make(padIndex);
    for (let i = 0; i < limit; i++) writer.zero(i * 1024, 512);
    expect(writer.finish().segments).toBe(limit);
    const over = make(padIndex);
    for (let i = 0; i <= limit; i++) over.zero(i * 1024, 512);
    expect(() => over.finish()).toThrow(expect.objectContaining({ code: 'limit-exceeded' }));
  });

  it('names full mode when the segments are those of an index-only layer', () => {
    const writer = make(false);
    for (let i = 0; i <= 1_000_000; i++) writer.mapRemote(i * 4096, i * 1024, 512);
    expect(() => writer.finish()).toThrow(
      expect.objectContaining({ code: 'limit-exceeded', hint: expect.stringContaining('full mode') }),
    );
  });

  it('writes zeros as data when zero segments get too many', () => {
    const emitted = { bytes: 0 };
    const writer = new LsmtWriter({
      virtualSize: 2 ** 34,
      padIndex: true,
      emit: (b) => {
        emitted.bytes += b.length;
      },
    });
    const pair = new Uint8Array(8192).fill(1, 0, 4096);
    const pairs = 1_000_000;
    for (let i = 0; i < pairs; i++) writer.writeBlocks(i * 8192, pair);
    const { segments, size } = writer.finish();
    // One run of data follows, cut to the length of an entry.
    const rest = (pairs * 2 - ZERO_DETECTION_SEGMENTS) * 8;
    expect(segments).toBe(ZERO_DETECTION_SEGMENTS + Math.ceil(rest / 16_376));
    expect(emitted.bytes).toBe(size);
  });

  it('is bounded before it is put in order, too', () => {
    const writer = make(true);
    const fill = () => {
      for (let i = 0; i < 4_000_001; i++) writer.zero(i * 1024, 512);
    };
    expect(fill).toThrow(expect.objectContaining({ code: 'limit-exceeded' }));
  });

  it('takes many discards without looking at every segment for each', () => {
    const writer = make(true);
    for (let i = 0; i < 200_000; i++) writer.zero(i * 4096, 512);
    for (let i = 0; i < 200_000; i++) writer.discard(((i * 7919) % 200_000) * 4096, 512);
    for (let i = 0; i < 1000; i++) writer.zero(i * 4096, 1024);
    expect(writer.finish().segments).toBe(1000);
  });
});
