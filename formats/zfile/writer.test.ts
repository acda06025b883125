import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CRC32C_BLOCK_SALT, crc32c } from '../checksum/crc32c.ts';
import { makeBlockCompressor } from './compressor.ts';
import { isBlockSize, LengthRules } from './layout.ts';
import { ZFileReader } from './reader.ts';
import { encodeZFile } from './testing/encode.ts';
import { readerOf } from './testing/goldens.ts';
import { compressBatch, compressorOf, wipingCompressor } from './testing/test-compressors.ts';
import { type BlockCompressor, type CompressedBatch, ZFileWriter } from './writer.ts';

const noise = (length: number, seed = 1): Uint8Array => {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
};

it('refuses a compression that there is not', () => {
  // A caller in JavaScript has no types to stop it.
  const algorithm = 'gzip' as 'zstd';
  expect(() => makeBlockCompressor({ algorithm, blockSize: 4096 })).toThrow('no such compression of blocks');
});

describe('ZFileWriter', () => {
  it('gives the same bytes whatever the chunks, batches and workers', async () => {
    const content = Buffer.concat([noise(50_000), new Uint8Array(50_000), Buffer.from('text '.repeat(20_000))]);
    const inThread = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
    const options = { algorithm: 'lz4', blockSize: 4096, compressor: inThread } as const;
    const expected = await encodeZFile(content, options, content.length);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(321, 4096, 5000, 1 << 20),
        fc.constantFrom(4096, 16_384, 1 << 20),
        fc.integer({ min: 1, max: 5 }),
        fc.infiniteStream(fc.nat(3)),
        async (chunk, batchSize, maxInFlight, delays) => {
          // Like a pool: answers come late and out of order.
          const compressor = compressorOf(async (bytes) => {
            for (let turns = delays.next().value ?? 0; turns > 0; turns--) await new Promise(setImmediate);
            return compressBatch(inThread, bytes);
          });
          const found = await encodeZFile(content, { ...options, compressor, batchSize, maxInFlight }, chunk);
          expect(Buffer.compare(found, expected)).toBe(0);
        },
      ),
      { numRuns: 25 },
    );
  });

  it.each([1, 8191, 70_001])(
    'counts %d zeros behind bytes like zeros that are given, in memory that others used',
    async (zeros) => {
      const write = async (counted: boolean): Promise<Uint8Array> => {
        const pieces: Uint8Array[] = [];
        const writer = new ZFileWriter({
          algorithm: 'lz4',
          blockSize: 4096,
          batchSize: 8192,
          compressor: makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 }),
          write: async (bytes) => void pieces.push(bytes.slice()),
        });
        for (const seed of [1, 2, 3]) {
          const bytes = noise(20_003, seed);
          if (counted) writer.write(bytes, zeros);
          else writer.write(Buffer.concat([bytes, new Uint8Array(zeros)]));
          await writer.drain();
        }
        const { header } = await writer.finish();
        return Buffer.concat([header, ...pieces]);
      };
      expect(Buffer.compare(await write(true), await write(false))).toBe(0);
    },
  );

  it.each([0, 1, 4095, 4096, 4097])('writes %d bytes', async (length) => {
    const content = noise(length);
    const compressor = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
    const zfile = await encodeZFile(content, { algorithm: 'lz4', blockSize: 4096, compressor }, 1);
    const reader = await ZFileReader.open(readerOf(zfile), zfile.length);
    expect(await reader.read(0, reader.size)).toEqual(content);
  });

  it('can be read without its overwritten header', async () => {
    const pieces: Uint8Array[] = [];
    const compressor = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
    const write = async (bytes: Uint8Array) => void pieces.push(bytes.slice());
    const writer = new ZFileWriter({ algorithm: 'lz4', blockSize: 4096, compressor, write });
    writer.write(noise(9000));
    await writer.finish();
    const zfile = Buffer.concat(pieces);
    const reader = await ZFileReader.open(readerOf(zfile), zfile.length);
    expect(await reader.read(0, 9000)).toEqual(noise(9000));
  });

  it('holds no more batches than it is allowed, and gives each back once', async () => {
    let taken = 0;
    let held = 0;
    let most = 0;
    const inThread = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
    const compressor: BlockCompressor = {
      take() {
        taken++;
        most = Math.max(most, ++held);
        const batch = inThread.take();
        let released = false;
        return {
          ...batch,
          async compress(length) {
            await new Promise((resolve) => setTimeout(resolve, 1));
            return batch.compress(length);
          },
          release() {
            expect(released).toBe(false);
            released = true;
            held--;
            batch.release();
          },
        };
      },
    };
    const options = { algorithm: 'lz4', blockSize: 4096, compressor, batchSize: 4096, maxInFlight: 3 } as const;
    await encodeZFile(new Uint8Array(400_000), options, 4096);
    expect({ taken, held }).toEqual({ taken: 98, held: 0 });
    expect(most).toBe(3);
  });

  it('writes blocks before their memory is given back', async () => {
    const content = noise(300_000);
    const inThread = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
    const options = { algorithm: 'lz4', blockSize: 4096, compressor: inThread, batchSize: 8192 } as const;
    const expected = await encodeZFile(content, options, 10_000);
    const wiping = wipingCompressor(inThread);
    const found = await encodeZFile(content, { ...options, compressor: wiping }, 10_000);
    expect(Buffer.compare(found, expected)).toBe(0);
  });

  it('writes one piece at a time, in order', async () => {
    let writing = false;
    const inThread = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
    const writer = new ZFileWriter({
      ...{ algorithm: 'lz4', blockSize: 4096, compressor: inThread, batchSize: 4096 },
      write: async () => {
        expect(writing).toBe(false);
        writing = true;
        await new Promise(setImmediate);
        writing = false;
      },
    });
    writer.write(new Uint8Array(40_960));
    expect(writer.saturated).toBe(true);
    await writer.drain();
    expect(writer.saturated).toBe(false);
    await writer.finish();
  });

  it('hands on what a compressor fails with', async () => {
    const compressor = compressorOf(() => {
      throw new Error('no more memory');
    });
    const writer = new ZFileWriter({
      ...{ algorithm: 'lz4', blockSize: 4096, compressor, batchSize: 4096, maxInFlight: 1 },
      write: async () => {},
    });
    writer.write(new Uint8Array(4096));
    await expect(writer.drain()).rejects.toThrow('no more memory');
    expect(() => writer.write(new Uint8Array(1))).toThrow('no more memory');
    await expect(writer.finish()).rejects.toThrow('no more memory');
  });

  it('hands on what the output says, and stops there', async () => {
    let writes = 0;
    const writer = new ZFileWriter({
      ...{
        algorithm: 'lz4',
        blockSize: 4096,
        compressor: makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 }),
        batchSize: 4096,
      },
      write: async () => {
        if (++writes === 2) throw new Error('disk full');
      },
    });
    writer.write(new Uint8Array(40_960));
    await expect(writer.drain()).rejects.toThrow('disk full');
    await expect(writer.finish()).rejects.toThrow('disk full');
    expect(writes).toBe(2);
  });

  it.each<[string, CompressedBatch]>([
    ['too few blocks', { bytes: new Uint8Array(10), lengths: Uint32Array.of(10) }],
    ['lengths that do not add up', { bytes: new Uint8Array(30), lengths: Uint32Array.of(10, 10) }],
  ])('refuses a compressor that answers %s', async (_name, answer) => {
    const compressor = compressorOf(() => answer);
    const writer = new ZFileWriter({ algorithm: 'lz4', blockSize: 4096, compressor, write: async () => {} });
    writer.write(new Uint8Array(8192));
    await expect(writer.finish()).rejects.toMatchObject({ code: 'internal' });
  });

  it.each(['lz4', 'zstd'] as const)(
    '%s of noise: names the block that overlaybd would not read, and fits at 32 KiB',
    async (algorithm) => {
      const content = Buffer.concat([new Uint8Array(65_536), noise(65_536)]);
      const encode = (blockSize: number) =>
        encodeZFile(
          content,
          { algorithm, blockSize, compressor: makeBlockCompressor({ algorithm, blockSize }) },
          1 << 16,
        );
      await expect(encode(65_536)).rejects.toMatchObject({
        code: 'limit-exceeded',
        where: { block: 1, bytes: '65536 to 131072 of the uncompressed layer' },
        expected: expect.stringMatching(/65536 bytes.*reader's buffer/),
        hint: expect.stringMatching(/32 or less/),
      });
      for (const blockSize of [4096, 8192, 16_384, 32_768])
        expect((await encode(blockSize)).length).toBeGreaterThan(65_536);
    },
  );

  it('refuses odd sizes', async () => {
    const compressor = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
    const make = (blockSize: number, batchSize: number) =>
      new ZFileWriter({ algorithm: 'lz4', blockSize, batchSize, compressor, write: async () => {} });
    expect(() => make(4095, 1 << 20)).toThrow(/block size/);
    expect(() => make(8192, 4096)).toThrow(/batch size/);
    expect(() => make(4096, 1 << 21)).toThrow(/batch size/);
    const noLevel = makeBlockCompressor({ algorithm: 'zstd', blockSize: 4096, level: 99 }).take();
    await expect(noLevel.compress(1)).rejects.toMatchObject({ code: 'usage' });
    const usage = expect.objectContaining({ code: 'usage' });
    expect(() => makeBlockCompressor({ algorithm: 'lz4', blockSize: 131_072 })).toThrow(usage);
    for (const level of [2, 13, 3.5])
      expect(() => makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096, level })).toThrow(usage);
  });
});

describe('what a node can address', () => {
  const lengths = (blockSize: number, list: number[]) => () => {
    const rules = new LengthRules(blockSize, 'zfile-invalid');
    for (const length of list) rules.next(length);
  };
  const sixteen = (first: number, last: number) => [...Array(14).fill(4118), first, last];
  it.each<[string, number, number[], boolean]>([
    ['a block of 4 bytes', 4096, [4], false],
    ['a block of 5 bytes', 4096, [5], true],
    ['a group of incompressible blocks', 4096, sixteen(4118, 4118), true],
    ['a group whose first 15 blocks take 65534', 4096, sixteen(65_534 - 14 * 4118, 9000), true],
    ['a group whose first 15 blocks take 65535', 4096, sixteen(65_535 - 14 * 4118, 5), false],
    ['a last group that is not full and takes 65535', 4096, [65_530, 5], false],
    ['two groups, each with room', 4096, [...sixteen(5, 60_000), ...sixteen(5, 60_000)], true],
    ['one block a group, filling the read buffer', 65_536, [65_536, 65_536], true],
    ['one block a group, larger than the read buffer', 65_536, [65_537], false],
  ])('%s', (_name, blockSize, list, fits) => {
    if (fits) expect(lengths(blockSize, list)).not.toThrow();
    else expect(lengths(blockSize, list)).toThrow(expect.objectContaining({ code: 'zfile-invalid' }));
  });

  it.each(['lz4', 'zstd'] as const)(
    '%s blocks of 64 KiB that do not shrink are refused when they are written',
    async (algorithm) => {
      const compressor = makeBlockCompressor({ algorithm, blockSize: 65_536 });
      const written = encodeZFile(noise(65_536), { algorithm, blockSize: 65_536, compressor }, 65_536);
      await expect(written).rejects.toMatchObject({
        code: 'limit-exceeded',
        hint: expect.stringContaining('blockSize'),
      });
    },
  );

  it.each([4096, 8192, 16_384, 32_768])('nothing does not shrink too much for blocks of %d', async (blockSize) => {
    for (const algorithm of ['lz4', 'zstd'] as const) {
      const content = noise(200_000);
      const compressor = makeBlockCompressor({ algorithm, blockSize });
      const zfile = await encodeZFile(content, { algorithm, blockSize, compressor, batchSize: 1 << 18 }, 1 << 17);
      const reader = await ZFileReader.open(readerOf(zfile), zfile.length);
      expect(Buffer.compare(await reader.read(0, content.length), content)).toBe(0);
    }
  });

  it('block sizes are powers of two from 4 KiB to 64 KiB', () => {
    const found = Array.from({ length: 140 }, (_, i) => i * 1024).filter(isBlockSize);
    expect(found).toEqual([4096, 8192, 16_384, 32_768, 65_536]);
  });
});

describe('the blocks of a batch', () => {
  it.each(['lz4', 'zstd'] as const)(
    '%s: they stay until it is released, whatever is compressed meanwhile',
    async (algorithm) => {
      const compressor = makeBlockCompressor({ algorithm, blockSize: 4096 });
      // More than a memory of the pool holds.
      const batches = Array.from({ length: 40 }, (_, i) => ({
        batch: compressor.take(),
        content: noise(10_000, i + 1),
      }));
      for (const { batch, content } of batches) batch.input.set(content);
      const answers = await Promise.all(batches.map(({ batch, content }) => batch.compress(content.length)));
      const alone = makeBlockCompressor({ algorithm, blockSize: 4096 });
      for (const [i, { content }] of batches.entries()) {
        const { bytes, lengths } = await compressBatch(alone, content);
        expect(Buffer.compare(answers[i]!.bytes, bytes)).toBe(0);
        expect([...answers[i]!.lengths]).toEqual([...lengths]);
        expect(lengths.length).toBe(3);
      }
    },
  );

  it('memory that was released is used again', () => {
    const compressor = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
    const [first, second] = [compressor.take(), compressor.take()];
    expect(second.input.byteOffset).not.toBe(first.input.byteOffset);
    first.release();
    expect(compressor.take().input).toBe(first.input);
  });

  it('zstd: each is a frame that the system knows, then its checksum', async () => {
    const compressor = makeBlockCompressor({ algorithm: 'zstd', blockSize: 4096 });
    const content = Buffer.concat([noise(4096), Buffer.from('abcdefg'.repeat(1000)), new Uint8Array(5000)]);
    const { bytes, lengths } = await compressBatch(compressor, content);
    const blocks: Buffer[] = [];
    let at = 0;
    for (const length of lengths) {
      const block = Buffer.from(bytes.subarray(at, at + length - 4));
      expect(new DataView(bytes.buffer).getUint32(at + length - 4, true)).toBe(crc32c(block, CRC32C_BLOCK_SALT));
      blocks.push(execFileSync('zstd', ['-dc'], { input: block }));
      at += length;
    }
    expect(Buffer.concat(blocks).equals(content)).toBe(true);
  });
});
