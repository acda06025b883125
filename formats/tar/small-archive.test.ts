import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { gzipDeterministic } from '../gzip/writer.ts';
import { packArchive, writeArchive } from './small-archive.ts';

const MIB = 1 << 20;

/** Bytes that shrink, and differ from piece to piece. */
function content(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i % 97) ^ (i >>> 12));
}

it.each([0, 1, 511, 512, 513, 100_000])('packs a file of %d bytes as one deflate stream', async (size) => {
  const { blob, diffId } = await packArchive([{ name: 'a', content: content(size) }]);
  const tar = gunzipSync(blob);
  expect(tar.length).toBe(512 + Math.ceil(size / 512) * 512 + 1024);
  expect(Buffer.compare(blob, gzipDeterministic([{ bytes: tar, isPacked: false }]))).toBe(0);
  expect(diffId).toBe(`sha256:${createHash('sha256').update(tar).digest('hex')}`);
});

it.each([1, 4096, 65_537])('gives the same bytes for content that streams in pieces of %d', async (piece) => {
  const bytes = content(200_001);
  const files = (a: Uint8Array | { size: number; open(): AsyncIterable<Uint8Array> }) => [
    { name: 'a', content: a },
    { name: 'b', content: bytes, isPacked: true },
  ];
  const open = async function* () {
    for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
  };
  const [whole, streamed] = [await packArchive(files(bytes)), await packArchive(files({ size: bytes.length, open }))];
  expect(Buffer.compare(whole.blob, streamed.blob)).toBe(0);
  expect(streamed.size).toBe(streamed.blob.length);
});

it('holds no more than a piece of 8 MiB of large content, in memory that is used again', async () => {
  const size = 19 * MIB + 5;
  const shared = new Uint8Array(MIB);
  let read = 0;
  let readAtLastWrite = 0;
  let mostHeld = 0;
  const written: Uint8Array[] = [];
  const open = async function* () {
    for (let at = 0; at < size; at += MIB) {
      const part = shared.subarray(0, Math.min(MIB, size - at)).fill(at / MIB);
      read += part.length;
      mostHeld = Math.max(mostHeld, read - readAtLastWrite);
      yield part;
    }
  };
  await writeArchive([{ name: 'a', content: { size, open } }], async (bytes) => {
    readAtLastWrite = read;
    written.push(bytes.slice());
  });
  expect(mostHeld).toBeLessThanOrEqual(9 * MIB);
  const tar = gunzipSync(Buffer.concat(written));
  for (let at = 0; at < size; at += MIB) expect(tar[512 + at]).toBe(at / MIB);
  expect(tar.length).toBe(512 + Math.ceil(size / 512) * 512 + 1024);
});

it.each([9, 11])('refuses content of %d bytes that announces 10', async (found) => {
  const open = async function* () {
    yield new Uint8Array(found);
  };
  await expect(packArchive([{ name: 'a', content: { size: 10, open } }])).rejects.toMatchObject({ code: 'internal' });
});
