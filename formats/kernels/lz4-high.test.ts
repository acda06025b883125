/** The levels of LZ4: small, the same everywhere, and read back by every decoder. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CRC32C_BLOCK_SALT, crc32c } from '../checksum/crc32c.ts';
import { noiseContent, sampleContent, seededRandom } from '../gzip/testing/samples.ts';
import { LZ4_MAX_INPUT, Lz4Compressor, lz4DecompressBlock } from './lz4.ts';
import { Lz4CompressorTwin } from './twins/lz4.ts';

const kernel = new Lz4Compressor();
const twin = new Lz4CompressorTwin();
/** Those that a ZFile may have. */
const BLOCK_SIZES = [4096, 8192, 16_384, 32_768, 65_536];
const LEVELS = [3, 4, 6, 9, 12];

/** The blocks of an input, their checksums compared and taken off. */
function blocksOf(input: Uint8Array, blockSize: number, level?: number): Uint8Array[] {
  const { bytes, lengths } = kernel.compress(input, blockSize, level);
  const blocks: Uint8Array[] = [];
  let at = 0;
  for (const length of lengths) {
    const block = bytes.slice(at, at + length - 4);
    at += length;
    expect(Buffer.from(bytes.subarray(at - 4, at)).readUInt32LE()).toBe(crc32c(block, CRC32C_BLOCK_SALT));
    blocks.push(block);
  }
  expect(at).toBe(bytes.length);
  return blocks;
}

/** Bytes of the blocks of an input. */
function sizeOf(input: Uint8Array, blockSize: number, level?: number): number {
  return kernel.compress(input, blockSize, level).bytes.length;
}

/** Decodes blocks as accel does. */
function decoded(blocks: readonly Uint8Array[], blockSize: number): Buffer {
  const target = new Uint8Array(blockSize);
  return Buffer.concat(blocks.map((block) => target.slice(0, lz4DecompressBlock(block, target))));
}

/** Decodes blocks with liblz4, whose program has a format of blocks with their lengths. */
function decodedByLiblz4(blocks: readonly Uint8Array[]): Buffer {
  const framed = blocks.flatMap((block) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(block.length);
    return [length, block];
  });
  const input = Buffer.concat([Buffer.from('02214c18', 'hex'), ...framed]);
  return execFileSync('lz4', ['-dc'], { input, maxBuffer: 1 << 27 });
}

/** Bytes of a block that has literals alone. */
function storedSize(size: number): number {
  return 1 + (size < 15 ? 0 : 1 + Math.floor((size - 15) / 255)) + size;
}

/** Whether every decoder reads the blocks of an input, and none is larger than its literals. */
function check(input: Uint8Array, blockSize: number, level: number): Uint8Array[] {
  const blocks = blocksOf(input, blockSize, level);
  expect(Buffer.compare(decoded(blocks, blockSize), input)).toBe(0);
  for (const [i, block] of blocks.entries())
    expect(block.length).toBeLessThanOrEqual(storedSize(Math.min(blockSize, input.length - i * blockSize)));
  return blocks;
}

/** Content that makes a search work: long and short repeats, of few letters, at distances of every kind. */
const HARD: Readonly<Record<string, () => Uint8Array>> = {
  zeros: () => new Uint8Array(100_000),
  noise: () => noiseContent(100_000),
  two_letters: () => seeded(60_000, (random) => random() % 2),
  rare_ones: () => seeded(60_000, (random) => Number(random() % 40 === 0)),
  runs_of_growing_length: () => {
    const content = new Uint8Array(100_000);
    for (let at = 4, step = 4; at < content.length; step = (step % 300) + 1, at += step) content[at] = 1;
    return content;
  },
  a_record_that_changes: () => {
    const record = noiseContent(200, 9);
    const random = seededRandom(3);
    return Uint8Array.from({ length: 100_000 }, (_, i) => (random() % 150 === 0 ? random() : record[i % 200]!));
  },
};

function seeded(length: number, letter: (random: () => number) => number): Uint8Array {
  const random = seededRandom(7);
  return Uint8Array.from({ length }, () => letter(random));
}

/** Pieces that repeat, near and far. */
const repetitive = fc
  .array(fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.nat(300)), { maxLength: 20 })
  .chain((pieces) =>
    fc.array(fc.nat({ max: Math.max(0, pieces.length - 1) }), { maxLength: 12 }).map((order) =>
      Buffer.concat(
        order.flatMap((i) => {
          const [bytes, times] = pieces[i] ?? [new Uint8Array(), 0];
          return new Array<Uint8Array>(times).fill(bytes);
        }),
      ).subarray(0, 150_000),
    ),
  );

describe('the kernel and its plain twin give the same', () => {
  const same = (input: Uint8Array, blockSize: number, level: number): void => {
    const fast = kernel.compress(input, blockSize, level);
    const plain = twin.compress(input, blockSize, level);
    expect([...fast.lengths]).toEqual([...plain.lengths]);
    expect(Buffer.compare(fast.bytes, plain.bytes)).toBe(0);
  };
  const content = sampleContent(100_000, 3, 9000);

  test.each([0, 1, 4, 12, 13, 14, 15, 16, 17, 4095, 4096, 4097, 4108, 4109])('an input of %i bytes', (size) => {
    for (const level of LEVELS) {
      same(content.subarray(0, size), 4096, level);
      same(new Uint8Array(size).fill(7), 4096, level);
    }
  });

  test.each([4096, 4099, 8192, 16_384, 32_768, 65_535, 65_536])('block size %i', (blockSize) => {
    for (const level of LEVELS) same(content, blockSize, level);
  });

  test.each(Object.keys(HARD))('%s', (name) => {
    for (const level of [3, 6]) same(HARD[name]!(), 32_768, level);
  });

  test('any repetitive bytes, any block size, any level', () => {
    fc.assert(
      fc.property(
        repetitive,
        fc.integer({ min: 4096, max: 65_536 }),
        fc.integer({ min: 3, max: 12 }),
        (bytes, blockSize, level) => same(bytes, blockSize, level),
      ),
      { numRuns: 60 },
    );
  });
});

describe('blocks are read back', () => {
  const batch = sampleContent(LZ4_MAX_INPUT, 5);

  test.each(BLOCK_SIZES)('block size %i, by liblz4 too', (blockSize) => {
    for (const level of LEVELS) expect(Buffer.compare(decodedByLiblz4(check(batch, blockSize, level)), batch)).toBe(0);
  });

  test.each(Object.keys(HARD))('%s, by liblz4 too', (name) => {
    const input = HARD[name]!();
    const blocks = BLOCK_SIZES.flatMap((blockSize) => check(input, blockSize, 9));
    expect(Buffer.compare(decodedByLiblz4(blocks), Buffer.concat(BLOCK_SIZES.map(() => input)))).toBe(0);
  });

  test('whatever they hold and whatever was compressed before', () => {
    fc.assert(
      fc.property(
        fc.oneof(repetitive, fc.uint8Array({ maxLength: 20_000 })),
        fc.constantFrom(...BLOCK_SIZES),
        fc.integer({ min: 3, max: 12 }),
        (bytes, blockSize, level) => void check(bytes, blockSize, level),
      ),
      { numRuns: 300 },
    );
  });
});

describe('sizes', () => {
  const content = sampleContent(LZ4_MAX_INPUT, 11, 20_000);

  test.each(BLOCK_SIZES)('every level is smaller than without, and level 3 the largest: block size %i', (blockSize) => {
    const sizes = [undefined, ...LEVELS].map((level) => sizeOf(content, blockSize, level));
    for (const size of sizes.slice(2)) expect(size).toBeLessThan(sizes[1]!);
    expect(sizes[1]).toBeLessThan(sizes[0]!);
  });

  test('a zero block takes 26 bytes and its checksum, an incompressible one 4114', () => {
    const { lengths } = kernel.compress(Buffer.concat([new Uint8Array(4096), noiseContent(4096)]), 4096, 12);
    expect([...lengths]).toEqual([30, 4118]);
  });

  test.each([
    [3, 'fc1b61714ca901e172a08bcfc6f6862424d05d57fc05cee664a46f8fe8becdc5'],
    [9, 'bcf9c58486a066939dcbc4874b2358120299c2cb908baea4d8303069074f5d0a'],
    [12, '4696da9010b2fcdf5d9e5dee758b826f3127eba54ba6592db8fe4df6a7754c40'],
  ])('level %i has the bytes that it had', (level, digest) => {
    const hash = createHash('sha256');
    for (const blockSize of BLOCK_SIZES) hash.update(kernel.compress(content, blockSize, level).bytes);
    expect(hash.digest('hex')).toBe(digest);
  });
});

test.each([0, 2, 13, 22, 4.5, Number.NaN])('there is no level %d', (level) => {
  expect(() => kernel.compress(new Uint8Array(16), 4096, level)).toThrow(expect.objectContaining({ code: 'usage' }));
});
