import { crc32, gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InflaterTwin } from '../kernels/twins/inflate.ts';
import { GzipStream, type GzipStreamOptions, type GzipSummary } from './stream.ts';
import { gzipWriters, sampleContent } from './testing/samples.ts';

interface Read {
  readonly output: Buffer;
  readonly summary: GzipSummary;
  /** Sizes of the pieces handed out. */
  readonly pieces: number[];
}

function read(gzip: Uint8Array, chunk = gzip.length, options: Partial<GzipStreamOptions> = {}): Read {
  const output: Buffer[] = [];
  const stream = new GzipStream({ members: 'any', onOutput: (bytes) => output.push(Buffer.from(bytes)), ...options });
  for (let at = 0; at < gzip.length; at += chunk) stream.push(gzip.subarray(at, at + chunk));
  const summary = stream.finish();
  return { output: Buffer.concat(output), summary, pieces: output.map((piece) => piece.length) };
}

function outcome(read: () => Buffer): Buffer | 'refused' {
  try {
    return read();
  } catch (error) {
    if ((error as { name: string }).name === 'AccelError') expect(error).toMatchObject({ code: 'gzip-invalid' });
    else expect((error as { code: string }).code).toMatch(/^(Z_|ERR_)/);
    return 'refused';
  }
}

/** A gzip member with any header: the deflate stream and trailer of `content` behind the given flags and fields. */
function member(content: Uint8Array, flags: number, fields: Uint8Array, headerCrc?: number): Buffer {
  const fixed = Buffer.from([0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255]);
  const header = Buffer.concat([fixed, fields]);
  const sum = Buffer.alloc(2);
  sum.writeUInt16LE(headerCrc ?? crc32(header) & 0xffff);
  return Buffer.concat([header, flags & 2 ? sum : Buffer.alloc(0), gzipSync(content).subarray(10)]);
}

const content = sampleContent(3_000_000);
const small = sampleContent(20_000, 5, 500);

describe('gzip streams of every writer', () => {
  for (const [name, write] of Object.entries(gzipWriters)) {
    test(name, () => {
      const gzip = write(content);
      for (const chunk of [321, 4096, 1 << 20]) {
        const { output, summary, pieces } = read(gzip, chunk);
        expect(Buffer.compare(output, content)).toBe(0);
        expect(summary).toEqual({
          compressedSize: gzip.length,
          uncompressedSize: content.length,
          members: 1,
          padding: 0,
          span: undefined,
          points: [],
        });
        expect(pieces.length).toBe(3);
      }
    });
  }

  test('in chunks of one byte, with and without an index', () => {
    const gzip = gzipWriters['zlib level 9, small memory']!(small);
    expect(Buffer.compare(read(gzip, 1).output, small)).toBe(0);
    expect(Buffer.compare(read(gzip, 1, { span: 65_536 }).output, small)).toBe(0);
  });

  test('empty', () => {
    const { output, summary } = read(gzipSync(''), 3, { span: 1 << 20, members: 'single' });
    expect(output.length).toBe(0);
    expect(summary).toMatchObject({ uncompressedSize: 0, members: 1 });
    expect(summary.points).toMatchObject([{ outputOffset: 0, inputOffset: 10, bits: 0 }]);
  });
});

describe('header fields', () => {
  const extra = Buffer.from([5, 0, 1, 2, 3, 4, 5]);
  const name = Buffer.from('n\xe4me\0', 'latin1');
  const comment = Buffer.from('a comment\0');
  test.each<[string, number, Buffer[], 'taken' | 'refused']>([
    ['none', 0, [], 'taken'],
    ['text', 1, [], 'taken'],
    ['extra', 4, [extra], 'taken'],
    ['extra_empty', 4, [Buffer.from([0, 0])], 'taken'],
    ['extra_64k', 4, [Buffer.from([0xff, 0xff]), Buffer.alloc(65_535, 7)], 'taken'],
    ['name', 8, [name], 'taken'],
    ['name_empty', 8, [Buffer.from([0])], 'taken'],
    ['comment', 16, [comment], 'taken'],
    ['checksum', 2, [], 'taken'],
    ['all', 31, [extra, name, comment], 'taken'],
    ['reserved_32', 32, [], 'refused'],
    ['reserved_128', 128, [], 'refused'],
  ])('%s', (_, flags, fields, expected) => {
    const gzip = member(small, flags, Buffer.concat(fields));
    const judged = outcome(() => gunzipSync(gzip));
    expect(judged === 'refused' ? 'refused' : 'taken').toBe(expected);
    for (const chunk of [1, 7, gzip.length]) expect(outcome(() => read(gzip, chunk).output)).toEqual(judged);
  });

  test.each<[string, Uint8Array]>([
    ['wrong header checksum', member(small, 2, Buffer.alloc(0), 0x1234)],
    ['another method', Buffer.from([0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 255, 3, 0])],
    ['a tar', Buffer.alloc(512, 'a')],
    ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0])],
    ['zlib, not gzip', Buffer.from([0x78, 0x9c, 3, 0, 0, 0, 0, 1])],
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.from([0x1f])],
  ])('%s is refused', (_, gzip) => {
    expect(outcome(() => gunzipSync(gzip))).toBe('refused');
    expect(outcome(() => read(gzip).output)).toBe('refused');
  });
});

describe('the trailer', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('byte %i from the end is wrong', (fromEnd) => {
    const gzip = gzipSync(small);
    gzip[gzip.length - fromEnd]! ^= 1;
    expect(outcome(() => gunzipSync(gzip))).toBe('refused');
    const what = fromEnd > 4 ? 'CRC-32' : 'length';
    expect(() => read(gzip)).toThrow(
      expect.objectContaining({ code: 'gzip-invalid', message: expect.stringContaining(what) }),
    );
  });
});

describe('several members', () => {
  const second = sampleContent(1_200_000, 8);
  const two = Buffer.concat([gzipSync(content), gzipSync(second)]);

  test.each([1000, 1 << 20])('are one content in chunks of %i, and have no index', (chunk) => {
    const { output, summary } = read(two, chunk, { span: 65_536 });
    expect(Buffer.compare(output, Buffer.concat([content, second]))).toBe(0);
    expect(summary).toMatchObject({ members: 2, compressedSize: two.length, points: [] });
    expect(summary.uncompressedSize).toBe(content.length + second.length);
  });

  test('the stream knows of the second as soon as it begins', () => {
    const stream = new GzipStream({ members: 'any', onOutput: () => undefined });
    stream.push(two.subarray(0, two.length - 1000));
    expect(stream.members).toBe(2);
  });

  test('a thousand small ones, as bgzip writes them', () => {
    const parts = Array.from({ length: 1000 }, (_, i) => small.subarray(i * 20, i * 20 + (i % 3) * 10));
    const gzip = Buffer.concat(parts.map((part) => gzipSync(part)));
    for (const chunk of [1, 321, gzip.length]) {
      const { output, summary } = read(gzip, chunk);
      expect(Buffer.compare(output, Buffer.concat(parts))).toBe(0);
      expect(summary.members).toBe(1000);
    }
  });

  test('a match does not reach into the member before', () => {
    const reaching = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 0x03, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    const gzip = Buffer.concat([gzipSync(small), reaching]);
    expect(outcome(() => gunzipSync(gzip))).toBe('refused');
    expect(() => read(gzip)).toThrow(expect.objectContaining({ found: 'a match that starts before the output does' }));
  });

  test.each([1, 64, 10_000])('%i bytes of zero padding are fine in either way', (zeros) => {
    const gzip = Buffer.concat([gzipSync(small), Buffer.alloc(zeros)]);
    for (const members of ['any', 'single'] as const)
      expect(read(gzip, 999, { members }).summary).toMatchObject({ padding: zeros, compressedSize: gzip.length });
  });

  test.each<[string, Buffer, string]>([
    ['a second member', gzipSync(''), 'a second gzip member'],
    ['text', Buffer.from('abcdef'), 'bytes 61 62 63 64'],
    ['one byte', Buffer.from([0x1f]), 'bytes 1f'],
    ['padding and then text', Buffer.from('\0\0abcdef'), 'bytes 61 62 63 64'],
    ['padding and then a member', Buffer.concat([Buffer.alloc(5), gzipSync('')]), 'bytes 1f 8b 08 00'],
  ])('index-only refuses %s behind the first member, saying where and the way out', (_, tail, found) => {
    const first = gzipSync(small);
    for (const chunk of [1, 100_000]) {
      expect(() => read(Buffer.concat([first, tail]), chunk, { members: 'single', span: 65_536 })).toThrow(
        expect.objectContaining({
          code: 'layer-unsupported',
          found,
          where: { 'compressed byte': first.length + tail.findIndex((byte) => byte !== 0) },
          hint: expect.stringContaining('full mode'),
        }),
      );
    }
  });

  test.each(['abcdef', '\0\0abcdef', '\x1f', '\x1f\x8c'])('full mode refuses %j behind the last member', (tail) => {
    const gzip = Buffer.concat([gzipSync(small), Buffer.from(tail, 'latin1')]);
    expect(() => read(gzip)).toThrow(expect.objectContaining({ code: 'gzip-invalid' }));
  });
});

describe('fuzz: damaged and truncated files are taken and refused as by node:zlib', () => {
  const seeds = [
    ...Object.values(gzipWriters).map((write) => write(small)),
    member(small, 31, Buffer.from('\x02\0abn\0c\0')),
  ];

  test('2,500 damaged', () => {
    let refused = 0;
    const damage = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(damage, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        (seed, list, early) => {
          const gzip = Buffer.from(seed);
          for (const [at, flip] of list) gzip[at % (early ? Math.min(200, gzip.length) : gzip.length)]! ^= flip;
          const judged = outcome(() => gunzipSync(gzip));
          if (judged === 'refused') refused++;
          for (const options of [{}, { span: 65_536 }])
            expect(outcome(() => read(gzip, 5000, options).output)).toEqual(judged);
        },
      ),
      { numRuns: 2500 },
    );
    expect(refused).toBeGreaterThan(2000);
  });

  test('500 truncated, and the last bytes one by one', () => {
    fc.assert(
      fc.property(fc.constantFrom(...seeds), fc.nat(), fc.constantFrom(1, 321, 100_000), (seed, cut, chunk) => {
        const gzip = seed.subarray(0, cut % seed.length);
        expect(outcome(() => gunzipSync(gzip))).toBe('refused');
        expect(outcome(() => read(gzip, chunk).output)).toBe('refused');
      }),
      { numRuns: 500 },
    );
    for (let cut = 1; cut <= 40; cut++) expect(outcome(() => read(seeds[0]!.subarray(0, -cut)).output)).toBe('refused');
  });

  test('the twin in the kernel’s place gives the same stream', () => {
    const gzip = gzipWriters['gzip -6']!(content);
    const fast = read(gzip, 4096, { span: 262_144 });
    const slow = read(gzip, gzip.length, { span: 262_144, machine: new InflaterTwin() });
    expect(Buffer.compare(slow.output, content)).toBe(0);
    expect(slow.summary).toEqual(fast.summary);
  });
});
