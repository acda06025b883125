import { describe, expect, it } from 'vitest';
import { commitTarHead, commitTarTail, parseCommitTarHead } from './commit-tar.ts';
import { makeBlockCompressor } from './compressor.ts';
import { decodeZFileHeader, encodeZFileHeader, ZFILE_SPACE } from './layout.ts';
import { ZFileReader } from './reader.ts';
import { encodeZFile } from './testing/encode.ts';
import { fullGoldens, golden, goldenZFile, readerOf, warpGoldens } from './testing/goldens.ts';

describe.each([...fullGoldens, ...warpGoldens])('golden %s', (name) => {
  const zfile = goldenZFile(name);

  it('reads whole, every block against its checksum', async () => {
    const reader = await ZFileReader.open(readerOf(zfile), zfile.length);
    expect(reader.blockSize).toBe(4096);
    expect(reader.algorithm).toBe('lz4');
    expect(reader.blockCount).toBe(Math.ceil(reader.size / 4096));
    const whole = await reader.read(0, reader.size);
    const block = Math.floor(reader.blockCount / 2);
    const range = reader.blockRange(block);
    const alone = reader.decompressBlock(block, zfile.subarray(range.offset, range.offset + range.length));
    expect(Buffer.compare(alone, whole.subarray(block * 4096, block * 4096 + alone.length))).toBe(0);
  });

  it('has header and trailer that encode to the same bytes', () => {
    const header = zfile.subarray(0, ZFILE_SPACE);
    const trailer = zfile.subarray(zfile.length - ZFILE_SPACE);
    expect(encodeZFileHeader(decodeZFileHeader(header, 'header'))).toEqual(new Uint8Array(header));
    expect(encodeZFileHeader(decodeZFileHeader(trailer, 'trailer'))).toEqual(new Uint8Array(trailer));
  });

  it('is written again byte for byte from its content', async () => {
    const reader = await ZFileReader.open(readerOf(zfile), zfile.length);
    const content = await reader.read(0, reader.size);
    const compressor = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
    const again = await encodeZFile(content, { algorithm: 'lz4', blockSize: 4096, compressor }, 1 << 20);
    expect(again.length).toBe(zfile.length);
    expect(Buffer.compare(again, zfile)).toBe(0);
  });
});

describe.each(fullGoldens)('tar of golden %s', (name) => {
  const blob = golden(name);

  it('is written again byte for byte', () => {
    const { zfileOffset, zfileSize } = parseCommitTarHead(blob);
    expect(zfileOffset).toBe(1536);
    expect(Buffer.from(commitTarHead(zfileSize)).equals(blob.subarray(0, 1536))).toBe(true);
    expect(Buffer.from(commitTarTail(zfileSize)).equals(blob.subarray(zfileOffset + zfileSize))).toBe(true);
  });

  it('notices a flipped bit in its two headers', () => {
    const whole = parseCommitTarHead(blob);
    for (const at of [0, 1024])
      for (let i = at; i < at + 512; i++) {
        const damaged = Uint8Array.from(blob.subarray(0, 1536));
        damaged[i]! ^= 0x10;
        // A space before the checksum's digits may as well be a zero.
        if (i >= at + 148 && i < at + 156 && [0x20, 0].includes(blob[i]!))
          expect(parseCommitTarHead(blob)).toEqual(whole);
        else expect(() => parseCommitTarHead(damaged), `byte ${i}`).toThrow(/overlaybd tar/);
      }
  });
});
