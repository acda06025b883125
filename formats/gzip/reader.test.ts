import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { InflaterTwin } from '../kernels/twins/inflate.ts';
import { decodeGzipIndex, encodeGzipIndex } from './gzip-index.ts';
import type { GzipIndex } from './points.ts';
import { GzipIndexReader } from './reader.ts';
import { GzipStream } from './stream.ts';
import { gzipWriters, sampleContent, seededRandom } from './testing/samples.ts';

function indexOf(gzip: Uint8Array, span: number): GzipIndex {
  const stream = new GzipStream({ members: 'single', span, onOutput: () => undefined });
  stream.push(gzip);
  return decodeGzipIndex(encodeGzipIndex(stream.finish()));
}

/** A file that counts what is read of it, and answers as late as it likes. */
class RemoteFile {
  bytesRead = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  readonly fetch = async (from: number, to: number): Promise<Uint8Array> => {
    expect(from).toBeGreaterThanOrEqual(0);
    expect(to).toBeGreaterThan(from);
    expect(to).toBeLessThanOrEqual(this.#bytes.length);
    this.bytesRead += to - from;
    if ((from & 7) === 0) await new Promise(setImmediate);
    return this.#bytes.subarray(from, to);
  };
}

const content = sampleContent(4_000_000, 23);

test('10,000 random reads equal the plain content', async () => {
  const random = seededRandom(99);
  const writers = Object.entries(gzipWriters);
  for (const [name, write] of writers) {
    const gzip = write(content);
    const reader = new GzipIndexReader(indexOf(gzip, 131_072));
    const file = new RemoteFile(gzip);
    expect(reader.size).toBe(content.length);
    for (let i = 0; i < Math.ceil(10_000 / writers.length); i++) {
      const offset = random() % (content.length + 100);
      const length = random() % (i % 50 === 0 ? 1_500_000 : 20_000);
      const bytes = await reader.readAt(offset, length, file.fetch);
      if (Buffer.compare(bytes, content.subarray(offset, offset + length)) !== 0)
        expect.fail(`${name}: ${length} bytes at ${offset}`);
    }
  }
});

describe('reads', () => {
  const gzip = gzipWriters['gzip -6']!(content);
  const index = indexOf(gzip, 131_072);

  test.each<[string, number, number]>([
    ['whole', 0, content.length],
    ['more_than_whole', 0, content.length + 1],
    ['last_byte', content.length - 1, 1],
    ['at_the_end', content.length, 10],
    ['behind_the_end', content.length + 1, 10],
    ['nothing', 77, 0],
    ['at_a_point', index.points[3]!.outputOffset, 1],
    ['before_a_point', index.points[3]!.outputOffset - 1, 1],
    ['across_a_point', index.points[3]!.outputOffset - 1, 2],
  ])('%s', async (_, offset, length) => {
    const bytes = await new GzipIndexReader(index).readAt(offset, length, new RemoteFile(gzip).fetch);
    expect(Buffer.compare(bytes, content.subarray(offset, offset + length))).toBe(0);
  });

  test('through the plain twin', async () => {
    const reader = new GzipIndexReader(index, () => new InflaterTwin());
    const bytes = await reader.readAt(2_000_000, 500_000, new RemoteFile(gzip).fetch);
    expect(Buffer.compare(bytes, content.subarray(2_000_000, 2_500_000))).toBe(0);
  });

  test('at the same time do not disturb each other', async () => {
    const reader = new GzipIndexReader(index);
    const file = new RemoteFile(gzip);
    const offsets = Array.from({ length: 60 }, (_, i) => (i * 1_234_567) % content.length);
    const pieces = await Promise.all(offsets.map((offset) => reader.readAt(offset, 70_000, file.fetch)));
    for (const [i, offset] of offsets.entries())
      expect(Buffer.compare(pieces[i]!, content.subarray(offset, offset + 70_000))).toBe(0);
  });

  test('one after another fetch and inflate the file once', async () => {
    const reader = new GzipIndexReader(index);
    const file = new RemoteFile(gzip);
    for (let offset = 0; offset < content.length; offset += 5000) {
      const bytes = await reader.readAt(offset, 5000, file.fetch);
      expect(Buffer.compare(bytes, content.subarray(offset, offset + 5000))).toBe(0);
    }
    expect(file.bytesRead).toBeLessThanOrEqual(gzip.length);
  });

  test('a small read fetches no more than its span', async () => {
    const file = new RemoteFile(gzip);
    const between = index.points[5]!.inputOffset - index.points[4]!.inputOffset;
    await new GzipIndexReader(index).readAt(index.points[4]!.outputOffset + 100, 100, file.fetch);
    expect(file.bytesRead).toBeLessThan(between + 2000);
  });

  test('the goldens of the reference, through its own index', async () => {
    for (const layer of [0, 1]) {
      const golden = (name: string) => readFileSync(new URL(`../../fixtures/goldens/${name}`, import.meta.url));
      const file = new RemoteFile(golden(`input/layer${layer + 1}.tar.gz`));
      const plain = gunzipSync(golden(`input/layer${layer + 1}.tar.gz`));
      const reader = new GzipIndexReader(decodeGzipIndex(golden(`turbo/l${layer}/gzip.meta`)));
      const random = seededRandom(layer + 5);
      for (let i = 0; i < 300; i++) {
        const offset = random() % plain.length;
        const bytes = await reader.readAt(offset, 3000, file.fetch);
        expect(Buffer.compare(bytes, plain.subarray(offset, offset + 3000))).toBe(0);
      }
    }
  });

  test('an index of another file, a short read and a damaged file are errors', async () => {
    const other = gzipWriters['gzip -6']!(content.subarray(0, 3_000_000));
    const padded = Buffer.concat([other, Buffer.alloc(gzip.length - other.length)]);
    const code = (name: string) => expect.objectContaining({ name: 'AccelError', code: name });
    const whole = (fetch: RemoteFile['fetch']) => new GzipIndexReader(index).readAt(0, content.length, fetch);
    await expect(whole(new RemoteFile(padded).fetch)).rejects.toThrow(code('turbo-invalid'));
    await expect(whole(async () => new Uint8Array(3))).rejects.toThrow(code('io-error'));
    const damaged = gzip.slice();
    damaged.fill(0xff, 5000, 6000);
    await expect(whole(new RemoteFile(damaged).fetch)).rejects.toThrow(code('gzip-invalid'));
  });
});
