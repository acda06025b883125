import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { CRC32C_BLOCK_SALT, crc32c } from '../checksum/crc32c.ts';
import { noiseContent, sampleContent } from '../gzip/testing/samples.ts';
import { LZ4_MAX_INPUT, Lz4Compressor, lz4BlockBound, lz4DecompressBlock, lz4Slot, makeLz4Memory } from './lz4.ts';
import { Lz4CompressorTwin } from './twins/lz4.ts';

const kernel = new Lz4Compressor();
const twin = new Lz4CompressorTwin();

function golden(name: string): Buffer {
  return readFileSync(new URL(`../../fixtures/goldens/${name}`, import.meta.url));
}

/** The compressed blocks of a ZFile, each with its checksum (docs/formats.md §2). */
function blocksOf(zfile: Buffer): Buffer[] {
  const indexAt = Number(zfile.readBigUInt64LE(40));
  const count = Number(zfile.readBigUInt64LE(48));
  const blocks: Buffer[] = [];
  for (let i = 0, at = 512; i < count; i++) {
    const length = zfile.readUInt32LE(indexAt + 4 * i);
    blocks.push(zfile.subarray(at, at + length));
    at += length;
  }
  return blocks;
}

/** Every block of a batch, its checksum compared with the plain CRC and its content with the input. */
function checkBatch(input: Uint8Array, blockSize: number): void {
  const { bytes, lengths } = kernel.compress(input, blockSize);
  const target = new Uint8Array(blockSize);
  let at = 0;
  for (const [i, length] of lengths.entries()) {
    const block = bytes.subarray(at, at + length - 4);
    const stored = Buffer.from(bytes.subarray(at + length - 4, at + length)).readUInt32LE();
    expect(stored).toBe(crc32c(block, CRC32C_BLOCK_SALT));
    const from = input.subarray(i * blockSize, (i + 1) * blockSize);
    expect(lz4DecompressBlock(block, target)).toBe(from.length);
    expect(Buffer.compare(target.subarray(0, from.length), from)).toBe(0);
    expect(length).toBeLessThanOrEqual(lz4BlockBound(from.length));
    at += length;
  }
  expect(at).toBe(bytes.length);
  expect(lengths.length).toBe(Math.ceil(input.length / blockSize));
}

describe('blocks are the bytes that liblz4 writes', () => {
  test.each(['full/l0', 'full/l1'])('golden %s: decompressed and compressed again', (layer) => {
    const blocks = blocksOf(golden(`${layer}/overlaybd.commit`).subarray(1536));
    expect(blocks.length).toBeGreaterThan(100);
    const target = new Uint8Array(4096);
    const plain = blocks.map((block) => target.slice(0, lz4DecompressBlock(block.subarray(0, -4), target)));
    for (let first = 0; first < blocks.length; first += 256) {
      const { bytes } = kernel.compress(Buffer.concat(plain.slice(first, first + 256)), 4096);
      expect(Buffer.compare(bytes, Buffer.concat(blocks.slice(first, first + 256)))).toBe(0);
    }
  });

  test('a zero block takes 26 bytes and its checksum, an incompressible one 4114', () => {
    const noise = noiseContent(4096);
    const { lengths } = kernel.compress(Buffer.concat([new Uint8Array(4096), noise]), 4096);
    expect([...lengths]).toEqual([30, 4118]);
  });
});

test('blocks of another compressor are sealed: each gets its checksum, whatever its length, and nothing after them changes', () => {
  const memory = makeLz4Memory(2);
  const { output, lengths } = lz4Slot(memory, 1);
  const blocks = [1, 15, 16, 17, 4096, 31_999, 3].map((length, i) => noiseContent(length, i + 1));
  output.fill(0xa5);
  let at = 0;
  for (const [i, block] of blocks.entries()) {
    output.set(block, at);
    lengths[i] = block.length + 4;
    at += block.length + 4;
  }
  new Lz4Compressor(memory).sealSlot(1, blocks.length);
  const expected = blocks.map((block) => {
    const sealed = Buffer.alloc(block.length + 4);
    sealed.set(block);
    sealed.writeUInt32LE(crc32c(block, CRC32C_BLOCK_SALT), block.length);
    return sealed;
  });
  expect(Buffer.compare(output.subarray(0, at), Buffer.concat(expected))).toBe(0);
  expect(output.subarray(at, at + 64).every((byte) => byte === 0xa5)).toBe(true);
});

describe('the kernel and its plain twin give the same', () => {
  const content = sampleContent(600_000, 3, 9000);
  const same = (input: Uint8Array, blockSize: number): void => {
    const fast = kernel.compress(input, blockSize);
    const plain = twin.compress(input, blockSize);
    expect([...fast.lengths]).toEqual([...plain.lengths]);
    expect(Buffer.compare(fast.bytes, plain.bytes)).toBe(0);
  };

  test.each([
    ['empty', 0],
    ['one_byte', 1],
    ['literals_only_12', 12],
    ['first_match_possible_13', 13],
    ['fourteen', 14],
    ['block_less_one', 4095],
    ['block', 4096],
    ['block_and_one', 4097],
    ['block_and_13', 4109],
  ])('input of %s', (_, size) => {
    same(content.subarray(0, size), 4096);
    same(new Uint8Array(size).fill(7), 4096);
  });

  test.each([4096, 4099, 8192, 16_384, 32_768, 65_535, 65_536])('block size %i', (blockSize) => {
    same(content, blockSize);
    checkBatch(content, blockSize);
  });

  test('any repetitive bytes, any block size', () => {
    const pieces = fc.array(fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.nat(600)), { maxLength: 20 });
    const input = pieces.map((list) => Buffer.concat(list.flatMap(([bytes, times]) => new Array(times).fill(bytes))));
    fc.assert(
      fc.property(input, fc.integer({ min: 4096, max: 65_536 }), (bytes, blockSize) => {
        same(bytes.subarray(0, 200_000), blockSize);
      }),
      { numRuns: 200 },
    );
  });

  test('a full batch of 1 MiB, and not a byte more', () => {
    checkBatch(sampleContent(LZ4_MAX_INPUT, 5), 4096);
    const noise = noiseContent(LZ4_MAX_INPUT);
    checkBatch(noise, 4096);
    expect(() => kernel.compress(new Uint8Array(LZ4_MAX_INPUT + 1), 4096)).toThrow(AccelError);
    expect(() => kernel.compress(noise, 4095)).toThrow(AccelError);
    expect(() => kernel.compress(noise, 65_537)).toThrow(AccelError);
  });
});

describe('decompression of hostile blocks', () => {
  const block = Uint8Array.from(kernel.compress(sampleContent(4096, 11, 700), 4096).bytes.subarray(0, -4));

  test.each<[string, number[], number]>([
    ['empty', [], 16],
    ['literals_past_the_end', [0x50, 1, 2], 16],
    ['literal_length_past_the_end', [0xf0, 255], 4096],
    ['literals_past_the_target', [0x50, 1, 2, 3, 4, 5], 4],
    ['offset_cut', [0x10, 1, 1], 16],
    ['offset_zero', [0x10, 1, 0, 0, 0], 16],
    ['offset_before_the_start', [0x10, 1, 2, 0, 0], 16],
    ['match_past_the_target', [0x10, 1, 1, 0, 0], 4],
    ['match_length_past_the_end', [0x1f, 1, 1, 0, 255], 4096],
    ['no_last_literals', [0x10, 1, 1, 0], 16],
  ])('%s is refused', (_, bytes, room) => {
    expect(() => lz4DecompressBlock(Uint8Array.from(bytes), new Uint8Array(room))).toThrow(
      expect.objectContaining({ code: 'zfile-invalid' }),
    );
  });

  test.each([1, 2, 3, 7, 15, 16, 33, 600])('a match of offset %i that overlaps itself', (offset) => {
    const start = Array.from({ length: offset }, (_, i) => (i * 37) & 255);
    const input = Uint8Array.from({ length: 4096 }, (_, i) => start[i % offset]!);
    checkBatch(input, 4096);
  });

  test('a damaged block is refused or gives bytes, and never writes past the target', () => {
    fc.assert(
      fc.property(fc.nat(block.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(4096), (at, flip, room) => {
        const damaged = block.slice();
        damaged[at]! ^= flip;
        const around = new Uint8Array(room + 64).fill(0xa5);
        try {
          expect(lz4DecompressBlock(damaged, around.subarray(0, room))).toBeLessThanOrEqual(room);
        } catch (error) {
          expect(error).toMatchObject({ code: 'zfile-invalid' });
        }
        expect(around.subarray(room).every((byte) => byte === 0xa5)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
