/** Decompresses zstd source layers: any number of frames, skippable ones among them. */
import { ZstdDecoder } from './decoder.ts';
import { loadZstdLibrary } from './library.ts';

/**
 * The content of a zstd stream, in pieces that are valid until the next is asked for. Takes multiple and skippable
 * frames; throws `zstd-invalid` for truncated input, anything that is no frame, dictionaries and windows above 128 MiB,
 * and where a frame's size or checksum is not that of its content.
 */
export async function* zstdDecompressStream(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decoder = new ZstdDecoder(await loadZstdLibrary());
  try {
    for await (const chunk of source) for (const piece of decoder.push(chunk)) yield piece.slice();
    decoder.finish();
  } finally {
    decoder.close();
  }
}
