/** Decompresses the tar of a source layer with Node's gunzip or zstd, which the content selects as in runtimes. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { AccelError } from '../../base/error.ts';
import { zstdDecompressStream } from '../../formats/zstd/stream.ts';

/** Compression of a blob. */
export type BlobCompression = 'none' | 'gzip' | 'zstd';

/** Bytes that identify the compression. */
export const MAGIC_LENGTH = 4;

/** The compression of a blob by its first {@link MAGIC_LENGTH} bytes. */
export function compressionOf(head: Uint8Array): BlobCompression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  const word = head.length < MAGIC_LENGTH ? 0 : new DataView(head.buffer, head.byteOffset).getUint32(0, true);
  // RFC 8878: a frame, or one of the sixteen skippable ones.
  return word === 0xfd2fb528 || word >>> 4 === 0x184d2a5 ? 'zstd' : 'none';
}

/** Bytes of the tar in a blob. Throws `gzip-invalid` or `zstd-invalid`, and whatever `blob` throws. */
export async function* tarOf(blob: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = blob[Symbol.asyncIterator]();
  try {
    const head: Uint8Array[] = [];
    let size = 0;
    for (let next = await source.next(); next.done !== true; next = await source.next()) {
      // A copy: a source may fill its chunk again.
      head.push(next.value.slice());
      size += next.value.length;
      if (size >= MAGIC_LENGTH) break;
    }
    const first = Buffer.concat(head);
    const whole = continued(first, source);
    const compression = compressionOf(first);
    if (compression === 'gzip') yield* gunzip(whole);
    else if (compression === 'zstd') yield* zstdDecompressStream(whole);
    else yield* whole;
  } finally {
    await source.return?.();
  }
}

async function* continued(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

async function* gunzip(blob: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let failure: { readonly error: unknown } | undefined;
  async function* watched(): AsyncGenerator<Uint8Array> {
    try {
      // Copies, because the stream reads ahead of what it has worked off.
      for await (const chunk of blob) yield chunk.slice();
    } catch (error) {
      failure = { error };
      throw error;
    }
  }
  const inflate = createGunzip({ chunkSize: 1 << 18 });
  const ended = pipeline(Readable.from(watched()), inflate).catch((error: unknown) => error);
  try {
    for await (const chunk of inflate) yield chunk as Uint8Array;
  } catch (cause) {
    await ended;
    // The failure of the blob's own stream explains more than that of the decompressor.
    if (failure !== undefined) throw failure.error;
    throw new AccelError('gzip-invalid', 'the gzip stream of a source layer is damaged', { cause });
  }
}
