import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync, inflateSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { AccelError } from '../../../base/error.ts';
import { pieceListOfBytes } from '../../../formats/piece-list/piece-hasher.ts';
import { makeBlockCompressor } from '../../../formats/zfile/compressor.ts';
import { compressBatch } from '../../../formats/zfile/testing/test-compressors.ts';
import { tempDirectory } from '../../../tests/support/tools.ts';
import type { GunzipResult } from './gunzip-thread.ts';
import { Threads } from './threads.ts';

let threads = new Threads(0);

/** Bytes of a compressed layer that is worth threads. */
const LARGE = 1 << 30;

function use(count: number): Threads {
  threads = new Threads(count);
  return threads;
}

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(stream: AsyncGenerator<Uint8Array, unknown>): Promise<{ bytes: Buffer; summary: unknown }> {
  const out: Buffer[] = [];
  for (;;) {
    const next = await stream.next();
    if (next.done === true) return { bytes: Buffer.concat(out), summary: next.value };
    out.push(Buffer.from(next.value));
  }
}

const noise = (size: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => (Math.imul(i ^ (i >>> 7), 0x9e3779b1) >>> 24) & 0x3f);

afterEach(() => threads.close());

describe.each([0, 1, 3])('with %d job threads', (count) => {
  it('compresses to the same blocks as in the calling thread, in the order of the batches', async () => {
    const format = { algorithm: 'lz4', blockSize: 4096 } as const;
    const compressor = use(count).compressor(format, LARGE);
    const here = makeBlockCompressor(format);
    const batches = Array.from({ length: 20 }, (_, i) => {
      const content = noise(300_000 + i * 4097).map((byte) => byte + i);
      const batch = compressor.take();
      batch.input.set(content);
      return { batch, content };
    });
    const results = await Promise.all(batches.map(({ batch, content }) => batch.compress(content.length)));
    for (const [i, { content }] of batches.entries()) {
      const expected = await compressBatch(here, content);
      expect(Buffer.from(results[i]!.bytes).equals(Buffer.from(expected.bytes))).toBe(true);
      expect([...results[i]!.lengths]).toEqual([...expected.lengths]);
    }
  });

  it('hashes a finished file, and its pieces while it is written, several files at a time', async () => {
    use(count);
    const directory = await tempDirectory('accel-threads-');
    try {
      // Hashed in the calling thread, and in another.
      const sizes = [3_000, 2_500_000, 52_000_000];
      const hashed = sizes.map(async (size) => {
        const content = Buffer.alloc(size, noise(1_000_003));
        const path = join(directory.path, `blob-${size}`);
        const pieces = threads.pieces(LARGE);
        // Shared memory reaches a thread as it is, other memory as a copy.
        const shared = new Uint8Array(new SharedArrayBuffer(size));
        shared.set(content);
        for (let at = 0; at < size; at += 700_001)
          await pieces.update((at % 2 === 0 ? shared : content).slice(at, at + 700_001));
        // The start is patched after it was hashed.
        content.fill('patched', 0, 1000);
        await writeFile(path, content);
        const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
        expect(await threads.digestFile(path, size)).toBe(digest);
        expect(Buffer.from(pieceListOfBytes(content)).equals(await pieces.finish(path))).toBe(true);
      });
      await Promise.all(hashed);
    } finally {
      await directory.remove();
    }
  });

  it('decompresses zstd and gzip in turns, and several streams at once', async () => {
    use(count);
    // Frames of all sizes: aligned and not, below and above what is handed out at once.
    const contents = [noise(1_500_000), noise(234_567), new Uint8Array(0), noise(800_001)];
    const zstd = contents.map((content) =>
      Buffer.concat(
        [content.subarray(0, 777), content.subarray(777)].map((part) =>
          execFileSync('zstd', ['-qc', '-3'], { input: part, maxBuffer: 1 << 28 }),
        ),
      ),
    );
    const read = async (i: number): Promise<void> => {
      const { bytes, summary } = await all(threads.unzstd(pieces(zstd[i]!, 100_003), LARGE));
      expect(bytes.equals(contents[i]!)).toBe(true);
      expect(summary).toBe(`sha256:${createHash('sha256').update(contents[i]!).digest('hex')}`);
    };
    await Promise.all(contents.map((_, i) => read(i)));
    const gzip = await all(
      threads.gunzip(pieces(gzipSync(contents[0]!), 65_536), { span: undefined, size: LARGE, members: 'any' }),
    );
    expect(gzip.bytes.equals(contents[0]!)).toBe(true);
    for (const i of contents.keys()) await read(i);
    const broken = Buffer.from(zstd[0]!);
    broken[broken.length >> 1]! ^= 1;
    await expect(all(threads.unzstd(pieces(broken, 65_536), LARGE))).rejects.toMatchObject({ code: 'zstd-invalid' });
    await read(1);
  });

  it('decompresses several streams at once and one after another, with their access points', async () => {
    use(count);
    const contents = [noise(5_000_000), noise(1_234_567), new Uint8Array(0), noise(3_000_000)];
    const options = { span: 1 << 20, size: LARGE, members: 'any' } as const;
    const together = await Promise.all(
      contents.map((content) => all(threads.gunzip(pieces(gzipSync(content), 70_001), options))),
    );
    for (const [i, content] of contents.entries()) {
      expect(together[i]!.bytes.equals(Buffer.from(content))).toBe(true);
      const again = await all(threads.gunzip(pieces(gzipSync(content), 1_000_000), options));
      expect(again.summary).toEqual(together[i]!.summary);
    }
  });

  it('answers what the calling thread would: digest, access points and their windows', async () => {
    const content = Buffer.concat([
      Buffer.alloc(2_000_000, 'window '),
      noise(1_500_000),
      Buffer.alloc(900_000, 'again '),
    ]);
    const options = { span: 1 << 16, size: LARGE, members: 'any' } as const;
    const { summary } = await all(use(count).gunzip(pieces(gzipSync(content), 33_333), options));
    const here = await all(new Threads(0).gunzip(pieces(gzipSync(content), 1 << 20), options));
    expect(summary).toEqual(here.summary);
    const { gzip, digest } = summary as GunzipResult;
    expect(digest).toBe(`sha256:${createHash('sha256').update(content).digest('hex')}`);
    expect(gzip.points.length).toBeGreaterThan(5);
    for (const { outputOffset, window } of gzip.points)
      expect(inflateSync(window).length, `${outputOffset}`).toBe(32_768);
  });

  it('reports several members without access points', async () => {
    const members = Buffer.concat([gzipSync(noise(1_000_000)), gzipSync(noise(500_000))]);
    const { summary } = await all(
      use(count).gunzip(pieces(members, 65_536), { span: 1 << 16, size: LARGE, members: 'any' }),
    );
    expect((summary as GunzipResult).gzip).toMatchObject({ members: 2, points: [], uncompressedSize: 1_500_000 });
  });

  it('passes on what is wrong with a stream, and takes the next', async () => {
    use(count);
    const options = { span: undefined, size: LARGE, members: 'any' } as const;
    const damaged = gzipSync(noise(2_000_000));
    damaged[damaged.length - 6]! ^= 1;
    const error = await all(threads.gunzip(pieces(damaged, 65_536), options)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AccelError);
    expect(error).toMatchObject({ code: 'gzip-invalid' });
    const { bytes } = await all(threads.gunzip(pieces(gzipSync(noise(100)), 10), options));
    expect(bytes.equals(Buffer.from(noise(100)))).toBe(true);
  });

  it('passes on what the source fails with', async () => {
    use(count);
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield gzipSync(noise(3_000_000)).subarray(0, 5000);
      throw new AccelError('digest-mismatch', 'from the source');
    }
    const run = all(threads.gunzip(failing(), { span: undefined, size: LARGE, members: 'any' }));
    await expect(run).rejects.toMatchObject({ code: 'digest-mismatch' });
  });

  it('can be left in the middle of a stream that inflates a thousandfold', async () => {
    use(count);
    const stream = threads.gunzip(pieces(gzipSync(new Uint8Array(200 << 20)), 1 << 20), {
      span: undefined,
      size: LARGE,
      members: 'any',
    });
    await stream.next();
    await stream.return(undefined as never);
    await threads.close();
  });
});

it('holds no more than the slots of a stream that inflates a thousandfold', async () => {
  const bomb = gzipSync(new Uint8Array(600 << 20));
  const before = process.memoryUsage().rss;
  let peak = 0;
  for await (const piece of use(1).gunzip(pieces(bomb, 1 << 20), { span: 1 << 20, size: LARGE, members: 'any' })) {
    // A match of up to 258 bytes may end past the megabyte; its bytes belong to the piece.
    expect(piece.length).toBeLessThan((1 << 20) + 258);
    peak = Math.max(peak, process.memoryUsage().rss);
  }
  expect(peak - before).toBeLessThan(150 << 20);
});

it('converts a small layer in the calling thread', async () => {
  use(2).warmUp(1000);
  const options = { span: 1 << 16, size: 1000, members: 'any' } as const;
  const { bytes } = await all(threads.gunzip(pieces(gzipSync(noise(70_000)), 100), options));
  expect(bytes.equals(Buffer.from(noise(70_000)))).toBe(true);
  const format = { algorithm: 'lz4', blockSize: 4096 } as const;
  const expected = await compressBatch(makeBlockCompressor(format), noise(9000));
  const blocks = await compressBatch(threads.compressor(format, 1000), noise(9000));
  expect(Buffer.from(blocks.bytes).equals(expected.bytes)).toBe(true);
  expect(threads.started).toBe(0);
  threads.warmUp(LARGE);
  expect(threads.started).toBe(3);
});

it('starts threads when more came than they cost, and not for the layers before', async () => {
  const [first, second] = [3_600_000, 600_000];
  use(2).warmUp(first);
  const packed = gzipSync(noise(70_000));
  const read = (size: number) => all(threads.gunzip(pieces(packed, 100), { span: 1 << 16, size, members: 'any' }));
  expect((await read(first)).bytes.equals(Buffer.from(noise(70_000)))).toBe(true);
  expect(threads.started).toBe(0);
  threads.warmUp(second);
  expect(threads.started).toBe(3);
  const { started } = threads;
  expect((await read(second)).bytes.equals(Buffer.from(noise(70_000)))).toBe(true);
  expect(threads.started).toBe(started);
});

it('starts none for many layers that are small, each of which takes no longer without', () => {
  use(2);
  for (let at = 0; at < 100; at++) threads.warmUp(500_000);
  expect(threads.started).toBe(0);
});

it('fails what is under way when a thread dies, and says so', async () => {
  const compressor = use(1).compressor({ algorithm: 'lz4', blockSize: 4096 }, LARGE);
  const batches = Array.from({ length: 40 }, () => compressor.take().compress(1 << 20));
  const outcomes = Promise.allSettled(batches);
  await threads.close();
  const last = (await outcomes).at(-1)!;
  expect(last.status === 'rejected' && last.reason).toMatchObject({
    code: 'internal',
    hint: expect.stringContaining('workers: 0'),
  });
  expect(() => compressor.take()).toThrow(expect.objectContaining({ code: 'internal' }));
});
