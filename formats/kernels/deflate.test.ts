/** Deflate: what every decoder reads back, the bytes of the plain twin, and no larger than it need be. */
import { inflateRawSync, inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { noiseContent, sampleContent, seededRandom } from '../gzip/testing/samples.ts';
import { DEFLATE_PIECE, Deflater } from './deflate.ts';
import { Inflater } from './inflate.ts';
import { WINDOW_BYTES } from './inflate-machine.ts';
import { codeLengths, deflateTwin } from './twins/deflate.ts';

const deflater = new Deflater();
const inflater = new Inflater();
/** An empty stored block that is the last. */
const LAST = Buffer.of(1, 0, 0, 0xff, 0xff);

/** Inflates a raw stream by the kernel. */
function inflated(stream: Uint8Array): Buffer {
  inflater.skip(inflater.unread.length);
  inflater.begin(false);
  const out: Buffer[] = [];
  let emitted = inflater.outputOffset;
  let at = 0;
  for (;;) {
    const stop = inflater.run(at === stream.length);
    if (stop === 'input') at += inflater.write(stream, at);
    else {
      out.push(Buffer.from(inflater.output(emitted)));
      emitted = inflater.outputOffset;
      if (stop === 'end') return Buffer.concat(out);
      inflater.release();
    }
  }
}

/** `size` bytes below `letters`, each half as frequent as the one before. */
function geometric(size: number, letters: number, seed = 1): Uint8Array {
  const random = seededRandom(seed);
  return Uint8Array.from({ length: size }, () => Math.min(letters - 1, Math.clz32(random())));
}

function filled(size: number, fill: (i: number) => number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => fill(i));
}

/** Letters as often as Fibonacci's numbers say, none beside itself, with a byte that does not count after each. */
function fibonacci(letters: number): { readonly bytes: Uint8Array; readonly references: Uint8Array } {
  const counts = [1, 1];
  while (counts.length < letters) counts.push(counts.at(-1)! + counts.at(-2)!);
  const sequence: number[] = [];
  const left = [...counts];
  for (let total = left.reduce((a, b) => a + b); total > 0; total--) {
    let pick = -1;
    for (const [letter, count] of left.entries())
      if (letter !== sequence.at(-1) && count > (pick < 0 ? 0 : left[pick]!)) pick = letter;
    sequence.push(pick);
    left[pick]!--;
  }
  const bytes = Uint8Array.from(sequence.flatMap((letter) => [letter, 255]));
  return { bytes, references: new Uint8Array(Math.ceil(bytes.length / 8)).fill(0x55) };
}

const HARD: Readonly<Record<string, () => Uint8Array>> = {
  nothing: () => new Uint8Array(0),
  'one byte': () => Uint8Array.of(7),
  'two bytes': () => Uint8Array.of(7, 7),
  'three bytes': () => Uint8Array.of(7, 7, 7),
  zeros: () => new Uint8Array(WINDOW_BYTES),
  'one symbol': () => new Uint8Array(5000).fill(0xc8),
  noise: () => noiseContent(20_000),
  'noise beyond a stored block': () => noiseContent(70_000, 3),
  'every byte once': () => filled(256, (i) => i),
  'bytes of nine bits alone': () => filled(111, (i) => 144 + i),
  'a few letters': () => geometric(9000, 3),
  'skewed letters': () => geometric(20_000, 30),
  'periods of each length up to 20': () => filled(12_000, (i) => (i % (1 + Math.floor(i / 600))) + 1),
  'a match of the longest length, and one more': () =>
    filled(800, (i) => [1, 2, 3, 4, 5][(i % 259) % 5]! + (i % 259 === 258 ? 9 : 0)),
  'a distance of 32 KiB': () => Buffer.concat([noiseContent(32_768, 5), noiseContent(3000, 5)]),
  'a distance of 32 KiB and one': () => Buffer.concat([noiseContent(32_769, 5), noiseContent(3000, 5)]),
  samples: () => sampleContent(30_000, 11, 900),
};

/** Bits for bytes: stretches that count, up to `stretch` bytes, and such that do not, up to `gap`. */
function stretches(size: number, stretch: number, gap: number, seed = 1): Uint8Array {
  const random = seededRandom(seed);
  const references = new Uint8Array(Math.ceil(size / 8));
  for (let at = random() % (gap + 1); at < size; at += random() % (gap + 1))
    for (const end = Math.min(size, at + 1 + (random() % stretch)); at < end; at++)
      references[at >> 3]! |= 1 << (at & 7);
  return references;
}

const REFERENCES: Readonly<Record<string, (size: number) => Uint8Array>> = {
  all: (size) => new Uint8Array(Math.ceil(size / 8)).fill(0xff),
  none: (size) => new Uint8Array(Math.ceil(size / 8)),
  'short ones': (size) => stretches(size, 6, 6),
  'short ones far apart': (size) => stretches(size, 20, 700),
  'long ones': (size) => stretches(size, 900, 40),
  'the last alone': (size) => filled(Math.ceil(size / 8), (i) => (i === (size - 1) >> 3 ? 1 << ((size - 1) & 7) : 0)),
};

function countsAt(references: Uint8Array | undefined, at: number): boolean {
  return references === undefined || ((references[at >> 3]! >> (at & 7)) & 1) === 1;
}

/** Compares with the twin, and what comes back with what counts; returns the stream. */
function check(bytes: Uint8Array, references?: Uint8Array): Uint8Array {
  const zlib = deflater.zlib(bytes, references);
  expect(Buffer.compare(zlib.subarray(2, -4), deflateTwin(bytes.slice(), { references, isLast: true }))).toBe(0);
  const back = inflateSync(zlib);
  expect(back.length).toBe(bytes.length);
  for (const [i, byte] of bytes.entries())
    if (countsAt(references, i) && back[i] !== byte) expect.fail(`byte ${i}: ${back[i]} instead of ${byte}`);
  expect(Buffer.compare(inflated(zlib.subarray(2, -4)), back)).toBe(0);
  // Never more than stored blocks.
  expect(zlib.length).toBeLessThanOrEqual(bytes.length + 5 * Math.max(1, Math.ceil(bytes.length / 16_384)) + 6);
  return zlib;
}

describe.each(Object.entries(HARD))('%s', (_, make) => {
  test('is read back, and the bytes of the twin', () => {
    check(make());
  });

  test('as blocks that others follow', () => {
    const bytes = make();
    const [blocks] = deflater.blocks(bytes);
    expect(Buffer.compare(blocks!, deflateTwin(bytes.slice(), { isLast: false }))).toBe(0);
    expect(
      Buffer.compare(
        inflateRawSync(Buffer.concat([blocks!, ...deflater.blocks(bytes), LAST])),
        Buffer.concat([bytes, bytes]),
      ),
    ).toBe(0);
  });

  test.each(Object.entries(REFERENCES))('of which count %s', (_name, references) => {
    const bytes = make().subarray(0, WINDOW_BYTES);
    check(bytes, references(bytes.length));
  });
});

test('content of any kind, whatever counts', () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.array(fc.constantFrom(0, 1, 2, 200), { maxLength: 600 }).map((letters) => Uint8Array.from(letters)),
    fc.tuple(fc.nat(3000), fc.integer({ min: 1, max: 30 }), fc.nat(99)).map((of) => geometric(...of)),
    fc.tuple(fc.nat(6000), fc.nat(999), fc.integer({ min: 1, max: 400 })).map((of) => sampleContent(...of)),
  );
  const shape = fc.option(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(400), fc.nat(999)));
  fc.assert(
    fc.property(content, shape, (bytes, counts) => {
      check(bytes, counts === null ? undefined : stretches(bytes.length, ...counts));
    }),
    { numRuns: 150 },
  );
});

test('codes of 15 bits where a tree would be deeper', () => {
  const { bytes, references } = fibonacci(18);
  const counts = [1, ...Array.from({ length: 18 }, (_, letter) => 2 * bytes.filter((byte) => byte === letter).length)];
  expect(Math.max(...codeLengths(counts, 30))).toBeGreaterThan(15);
  expect(Math.max(...codeLengths(counts, 15))).toBe(15);
  const zlib = check(bytes, references);
  // Far fewer than the eight bits of another form, so the block is one with these codes.
  expect(zlib.length).toBeLessThan(bytes.length / 2.5);
});

test('a match that begins in a gap does not reach before the input', () => {
  const bytes = Buffer.from(`abcdefgh${'.'.repeat(20)}abcdefgh`);
  const references = Uint8Array.of(0xff, 0, 0, 0xf0, 0x0f);
  check(bytes, references);
});

test('what does not count costs next to nothing', () => {
  const bytes = noiseContent(WINDOW_BYTES);
  expect(deflater.zlib(bytes, REFERENCES.none!(bytes.length)).length).toBeLessThan(60);
  const few = stretches(bytes.length, 20, 700);
  const counting = bytes.filter((_, i) => countsAt(few, i)).length;
  expect(deflater.zlib(bytes, few).length).toBeLessThan(counting * 1.3 + 100);
});

test.each([DEFLATE_PIECE - 1, DEFLATE_PIECE, DEFLATE_PIECE + 1, 3 * DEFLATE_PIECE + 5])(
  '%d bytes, piece by piece',
  (size) => {
    const bytes = sampleContent(size, 21);
    expect(Buffer.compare(inflateSync(deflater.zlib(bytes)), bytes)).toBe(0);
    const blocks = deflater.blocks(bytes);
    expect(blocks).toHaveLength(Math.ceil(size / DEFLATE_PIECE));
    expect(Buffer.compare(inflateRawSync(Buffer.concat([...blocks, LAST])), bytes)).toBe(0);
  },
);

test('a stream does not depend on those before it', () => {
  const bytes = sampleContent(WINDOW_BYTES, 31);
  const references = stretches(bytes.length, 30, 200);
  const first = new Deflater().zlib(bytes, references);
  deflater.zlib(noiseContent(DEFLATE_PIECE));
  deflater.blocks(sampleContent(DEFLATE_PIECE, 8));
  expect(Buffer.compare(deflater.zlib(bytes, references), first)).toBe(0);
});

test('a window without a bit for each byte, or too large, is a mistake of the caller', () => {
  for (const [size, bits] of [
    [WINDOW_BYTES + 1, 5000],
    [1000, 124],
  ] as const)
    expect(() => deflater.zlib(new Uint8Array(size), new Uint8Array(bits))).toThrow(
      expect.objectContaining({ code: 'internal' }),
    );
});
