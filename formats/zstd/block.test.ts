import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { loadZstdCompressor, loadZstdDecompressor } from './block.ts';

const zstdDecompressBlock = await loadZstdDecompressor();
const content = Buffer.from('a block of a ZFile, again and again. '.repeat(300)).subarray(0, 4096);

describe('a zstd block', () => {
  it.each([1, 3, 19])('is compressed at level %d so that the system reads it', async (level) => {
    const compress = await loadZstdCompressor(level);
    const frame = compress(content);
    expect(frame.length).toBeLessThan(200);
    expect(execFileSync('zstd', ['-dc'], { input: frame }).equals(content)).toBe(true);
    const target = new Uint8Array(4096);
    expect(zstdDecompressBlock(frame, target)).toBe(4096);
    expect(content.equals(target)).toBe(true);
  });

  it('holds nothing, or one byte, too', async () => {
    const compress = await loadZstdCompressor();
    for (const length of [1, 2]) {
      const target = new Uint8Array(length);
      expect(zstdDecompressBlock(compress(content.subarray(0, length)), target)).toBe(length);
      expect(content.subarray(0, length).equals(target)).toBe(true);
    }
  });

  it('is refused unless it is one frame that fits', async () => {
    const compress = await loadZstdCompressor();
    const frame = Buffer.from(compress(content));
    const target = new Uint8Array(4096);
    const refused = expect.objectContaining({ code: 'zstd-invalid' });
    expect(() => zstdDecompressBlock(frame, new Uint8Array(4095))).toThrow(refused);
    expect(() => zstdDecompressBlock(frame.subarray(0, -1), target)).toThrow(refused);
    expect(() => zstdDecompressBlock(Buffer.concat([frame, frame]), target)).toThrow(refused);
    expect(() => zstdDecompressBlock(Buffer.concat([frame, Buffer.alloc(1)]), target)).toThrow(refused);
    expect(() => zstdDecompressBlock(Buffer.alloc(20), target)).toThrow(refused);
    const skippable = Buffer.from('502a4d1800000000', 'hex');
    expect(() => zstdDecompressBlock(Buffer.concat([frame, skippable]), target)).toThrow(refused);
    const empty = compress(new Uint8Array(0));
    expect(zstdDecompressBlock(empty, new Uint8Array(0))).toBe(0);
    expect(() => zstdDecompressBlock(Buffer.concat([empty, empty]), new Uint8Array(0))).toThrow(refused);
    const unsized = execFileSync('zstd', ['-qc', '--no-content-size'], { input: content });
    expect(() => zstdDecompressBlock(unsized, target)).toThrow(refused);
  });
});
