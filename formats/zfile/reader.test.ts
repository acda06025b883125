import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { crc32c } from '../checksum/crc32c.ts';
import { makeBlockCompressor } from './compressor.ts';
import { encodeZFileHeader, FLAG_DATA_FILE, FLAG_DIGEST, FLAG_HEADER, FLAG_SEALED, zfileStruct } from './layout.ts';
import { ZFileReader } from './reader.ts';
import { encodeZFile } from './testing/encode.ts';
import { readerOf } from './testing/goldens.ts';
import { compressBatch, compressorOf } from './testing/test-compressors.ts';

/** Text-like, zero and incompressible stretches. */
function sample(length: number): Uint8Array {
  const out = new Uint8Array(length);
  let state = 12345;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const kind = (i >>> 13) % 3;
    out[i] = kind === 0 ? 97 + (i % 7) : kind === 1 ? 0 : state >>> 24;
  }
  return out;
}

const open = (zfile: Uint8Array) => ZFileReader.open(readerOf(zfile), zfile.length);

describe.each(['lz4', 'zstd'] as const)('a %s ZFile', (algorithm) => {
  const content = sample(100_001);
  let zfile: Uint8Array;
  beforeAll(async () => {
    const compressor = makeBlockCompressor({ algorithm, blockSize: 8192 });
    zfile = await encodeZFile(content, { algorithm, blockSize: 8192, compressor, batchSize: 16_384 }, 1000);
  });

  it('answers any range', async () => {
    const reader = await open(zfile);
    expect(reader).toMatchObject({ size: content.length, blockSize: 8192, algorithm, blockCount: 13 });
    await fc.assert(
      fc.asyncProperty(fc.nat(content.length), fc.nat(40_000), async (offset, wanted) => {
        const length = Math.min(wanted, content.length - offset);
        const found = await reader.read(offset, length);
        expect(Buffer.compare(found, content.subarray(offset, offset + length))).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('reads only the blocks that it needs', async () => {
    const ranges: [number, number][] = [];
    const reader = await ZFileReader.open(async (offset, length) => {
      ranges.push([offset, length]);
      return zfile.subarray(offset, offset + length);
    }, zfile.length);
    ranges.length = 0;
    await reader.read(8190, 4);
    const { offset, length } = reader.compressedRange(8190, 4);
    expect(ranges).toEqual([[offset, length]]);
    expect(offset).toBe(512);
    expect(length).toBe(reader.blockRange(0).length + reader.blockRange(1).length);
    expect(reader.compressedRange(content.length, 0).length).toBe(0);
  });

  it('refuses reads past the end', async () => {
    const reader = await open(zfile);
    await expect(reader.read(content.length - 3, 4)).rejects.toMatchObject({ code: 'usage' });
    await expect(reader.read(-1, 1)).rejects.toMatchObject({ code: 'usage' });
    expect(() => reader.blockRange(13)).toThrow(/no such block/);
  });

  it('notices every flipped bit', async () => {
    for (let i = 0; i < zfile.length; i += i < 1024 || i > zfile.length - 1024 ? 1 : 37) {
      const damaged = Uint8Array.from(zfile);
      damaged[i]! ^= 1 << (i % 8);
      await expect(
        open(damaged).then((reader) => reader.read(0, reader.size)),
        `byte ${i}`,
      ).rejects.toMatchObject({ code: 'zfile-invalid' });
    }
  });

  it('notices every truncation and trailing bytes', async () => {
    for (const length of [0, 1, 511, 512, 1023, 1024, zfile.length - 513, zfile.length - 512, zfile.length - 1])
      await expect(open(zfile.subarray(0, length)), `${length} bytes`).rejects.toMatchObject({ code: 'zfile-invalid' });
    await expect(open(Buffer.concat([zfile, new Uint8Array(512)]))).rejects.toMatchObject({ code: 'zfile-invalid' });
  });

  it('does not take a short answer for data', async () => {
    const reader = await ZFileReader.open(readerOf(zfile), zfile.length);
    const short = await ZFileReader.open(
      async (offset, length) => zfile.subarray(offset, offset + (length > 4096 && offset === 512 ? 100 : length)),
      zfile.length,
    );
    await expect(short.read(0, reader.size)).rejects.toThrow(/cut short/);
  });
});

it.each(['lz4', 'zstd'] as const)('a %s block that holds fewer bytes than its place is refused', async (algorithm) => {
  const content = sample(8192);
  const compressor = makeBlockCompressor({ algorithm, blockSize: 4096 });
  const short = compressorOf(async (bytes) => {
    // A valid block with a valid checksum, of all but the last byte.
    const first = await compressBatch(compressor, bytes.subarray(0, 4095));
    const second = await compressBatch(compressor, bytes.subarray(4096));
    const lengths = Uint32Array.of(...first.lengths, ...second.lengths);
    return { bytes: Buffer.concat([first.bytes, second.bytes]), lengths };
  });
  const reader = await open(await encodeZFile(content, { algorithm, blockSize: 4096, compressor: short }, 8192));
  await expect(reader.read(0, 8192)).rejects.toMatchObject({ code: 'zfile-invalid', where: { block: 0 } });
  expect(await reader.read(4096, 4096)).toEqual(content.subarray(4096));
});

describe('a ZFile header', () => {
  const header = {
    flags: FLAG_HEADER | FLAG_DATA_FILE | FLAG_DIGEST,
    indexOffset: 0,
    indexSize: 0,
    originalFileSize: 0,
    indexCrc: 0,
    blockSize: 4096,
    algorithm: 'lz4',
  } as const;
  const trailer = { ...header, flags: FLAG_DATA_FILE | FLAG_SEALED | FLAG_DIGEST, indexOffset: 512 };

  it('without the trailer in it sends the reader there', async () => {
    const empty = Buffer.concat([encodeZFileHeader(header), encodeZFileHeader(trailer)]);
    expect((await open(empty)).size).toBe(0);
  });

  const { offsets } = zfileStruct;
  it.each<[string, number, number]>([
    ['a compressed index', offsets.flags, 0x33],
    ['no digest', offsets.flags, 0x03],
    ['an index file', offsets.flags, 0x11],
    ['a block size of 2048', offsets.blockSize + 1, 0x08],
    ['a block size of 12288', offsets.blockSize + 1, 0x30],
    ['algorithm 0', offsets.algo, 0],
    ['algorithm 3', offsets.algo, 3],
    ['a dictionary', offsets.useDict, 1],
    ['a dictionary size', offsets.dictSize, 1],
    ['no block checksums', offsets.verify, 0],
    ['another structure size', offsets.size, 97],
    ['an offset past 2^53', offsets.indexOffset + 7, 1],
  ])('is refused with %s', async (_name, at, value) => {
    const changed = encodeZFileHeader(header);
    changed[at] = value;
    changed.fill(0, offsets.digest, offsets.digest + 4);
    new DataView(changed.buffer).setUint32(offsets.digest, crc32c(changed), true);
    const empty = Buffer.concat([changed, encodeZFileHeader(trailer)]);
    await expect(open(empty)).rejects.toMatchObject({ code: 'zfile-invalid' });
  });

  it.each<[string, object]>([
    ['block count', { indexSize: 1 }],
    ['content size', { originalFileSize: 1 }],
    ['place of the index', { indexOffset: 511 }],
    ['checksum of the index', { indexCrc: 1 }],
  ])('is refused with a wrong %s', async (_name, change) => {
    const empty = Buffer.concat([encodeZFileHeader(header), encodeZFileHeader({ ...trailer, ...change })]);
    await expect(open(empty)).rejects.toMatchObject({ code: 'zfile-invalid' });
  });

  it('is refused when it says other than the trailer', async () => {
    const overwritten = { ...header, flags: header.flags | 8, indexOffset: 512 };
    await expect(
      open(Buffer.concat([encodeZFileHeader(overwritten), encodeZFileHeader(trailer)])),
    ).resolves.toBeTruthy();
    const other = encodeZFileHeader({ ...overwritten, blockSize: 8192 });
    await expect(open(Buffer.concat([other, encodeZFileHeader(trailer)]))).rejects.toThrow(/differ/);
  });
});
