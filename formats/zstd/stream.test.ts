import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { zstdDecompressStream } from './stream.ts';

/** Compressed by the system's zstd. */
const zstd = (input: Uint8Array, ...flags: string[]): Buffer =>
  execFileSync('zstd', ['-qc', ...flags], { input, maxBuffer: 1 << 28 });

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  const own = new Uint8Array(size);
  for (let from = 0; from < bytes.length; from += size) {
    // The same buffer for each chunk: who keeps a view of it reads the next one's bytes.
    const chunk = bytes.subarray(from, from + size);
    own.set(chunk);
    yield own.subarray(0, chunk.length);
  }
}

function sample(length: number): Uint8Array {
  const out = new Uint8Array(length);
  let state = 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    out[i] = (i >>> 15) % 4 === 3 ? state >>> 24 : (i >>> 15) % 4 === 2 ? 0 : 97 + ((i * 7 + (state >>> 30)) % 23);
  }
  return out;
}

describe('zstdDecompressStream', () => {
  const decompress = async (bytes: Uint8Array, chunk = 65_536): Promise<Buffer> => {
    const pieces: Uint8Array[] = [];
    for await (const piece of zstdDecompressStream(chunked(bytes, chunk))) pieces.push(piece.slice());
    return Buffer.concat(pieces);
  };
  const content = sample(600_000);

  it.each([
    ['-1'],
    ['-3'],
    ['-19'],
    ['--ultra', '-22'],
    ['--fast=5'],
    ['--no-check'],
    ['--long=27'],
    ['-3', '--no-content-size'],
    ['-9', '-T2', '-B100000'],
  ])('reads what the system writes with %s %s %s', async (...flags) => {
    expect((await decompress(zstd(content, ...flags))).equals(content)).toBe(true);
  });

  it.each([1, 3, 321, 4096, 1 << 20])('in chunks of %d bytes', async (chunk) => {
    const bytes = zstd(content.subarray(0, 200_000), '-3');
    expect((await decompress(bytes, chunk)).equals(content.subarray(0, 200_000))).toBe(true);
  });

  it.each([0, 1, 255, 256, 131_071, 131_072, 131_073])('of %d bytes of content', async (length) => {
    expect((await decompress(zstd(content.subarray(0, length)))).equals(content.subarray(0, length))).toBe(true);
  });

  it('reads several frames with skippable ones around them', async () => {
    const skippable = (length: number, nibble: number) => {
      const out = Buffer.alloc(8 + length, 0x28);
      out.writeUInt32LE(0x184d2a50 + nibble, 0);
      out.writeUInt32LE(length, 4);
      return out;
    };
    const parts = [content.subarray(0, 5), content.subarray(5, 200_000), new Uint8Array(0), content.subarray(200_000)];
    const frames = parts.map((part, i) => zstd(part, i % 2 === 0 ? '--no-check' : '-3'));
    const bytes = Buffer.concat([skippable(0, 0), ...frames.flatMap((frame, i) => [frame, skippable(i * 40, 15)])]);
    for (const chunk of [7, 4096, 1 << 20]) expect((await decompress(bytes, chunk)).equals(content)).toBe(true);
    expect((await decompress(skippable(9, 3))).length).toBe(0);
  });

  it('says so when the stream is cut short, wherever', async () => {
    const bytes = zstd(content.subarray(0, 150_000), '-3');
    for (let length = 0; length < bytes.length; length += length < 40 || length > bytes.length - 20 ? 1 : 1009)
      await expect(decompress(bytes.subarray(0, length)), `${length} bytes`).rejects.toMatchObject({
        code: 'zstd-invalid',
      });
  });

  it('notices every damaged byte, thanks to the checksum', async () => {
    const part = content.subarray(0, 100_000);
    const bytes = zstd(part, '-6');
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const damaged = Uint8Array.from(bytes);
        damaged[at]! ^= flip;
        const found = await decompress(damaged).catch((error) => error);
        // A window that is said to be larger than it need be harms nothing.
        if (Buffer.isBuffer(found)) expect(found.equals(part)).toBe(true);
        else expect(found.code).toBe('zstd-invalid');
      }),
      { numRuns: 400 },
    );
  });

  const header = (descriptor: number, ...rest: number[]) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, descriptor, ...rest]);
  const empty = [1, 0, 0];
  it.each<[string, Uint8Array]>([
    ['nothing', Buffer.alloc(0)],
    ['gzip', Buffer.from('1f8b0800', 'hex')],
    ['garbage behind a frame', Buffer.concat([zstd(Buffer.from('x')), Buffer.from('junk')])],
    ['zeros behind a frame', Buffer.concat([zstd(Buffer.from('x')), Buffer.alloc(512)])],
    ['a window of more than 128 MiB', header(0x00, (17 << 3) | 1, ...empty)],
    ['a reserved bit', header(0x08, 0, ...empty)],
    ['a dictionary', header(0x01, 0, 7, ...empty)],
    ['a block of the reserved type', header(0x00, 0x38, 7, 0, 0)],
    ['a block larger than its window', header(0x00, 0x00, 0x01 | (1025 << 3), (1025 >> 5) & 0xff, 0)],
    ['more content than it says', header(0x20, 1, 0x03, 0, 0, 65)],
    ['less content than it says', header(0x20, 5, 0x01 | (4 << 3), 0, 0, 65, 65, 65, 65)],
    ['a skippable frame cut short', Buffer.from('502a4d18ff00000000', 'hex')],
  ])('refuses %s', async (_what, bytes) => {
    await expect(decompress(bytes)).rejects.toMatchObject({ code: 'zstd-invalid' });
  });

  it('takes a window of exactly 128 MiB', async () => {
    expect((await decompress(header(0x00, 17 << 3, 0x01 | (3 << 3), 0, 0, 1, 2, 3))).toString('hex')).toBe('010203');
  });

  it('hands on what the source fails with, and lets the source go when nobody reads on', async () => {
    const bytes = zstd(content);
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 1000);
      throw new Error('connection lost');
    }
    const all = async () => {
      for await (const piece of zstdDecompressStream(failing())) expect(piece.length).toBeGreaterThan(0);
    };
    await expect(all()).rejects.toThrow('connection lost');
    let closed = false;
    async function* watched(): AsyncGenerator<Uint8Array> {
      try {
        yield* chunked(bytes, 1000);
      } finally {
        closed = true;
      }
    }
    for await (const piece of zstdDecompressStream(watched())) if (piece.length > 0) break;
    await new Promise(setImmediate);
    expect(closed).toBe(true);
  });
});
