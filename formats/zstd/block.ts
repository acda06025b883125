/** Single zstd blocks of a ZFile: each is a whole frame that says how much it holds. */
import { Zstd } from '@hpcc-js/wasm-zstd';
import { Decompress } from 'fzstd';
import { AccelError } from '../../base/error.ts';
import { FrameWalker } from './frames.ts';
import { nativeZstd } from './native.ts';

/** The level that the reference's tools compress blocks with. */
export const DEFAULT_ZSTD_LEVEL = 3;

/**
 * Loads the compressor and answers the function that makes one frame of one block. It is WebAssembly even where Node
 * has zstd of its own: the frames must be the same whatever version Node brings.
 */
export async function loadZstdCompressor(level = DEFAULT_ZSTD_LEVEL): Promise<(block: Uint8Array) => Uint8Array> {
  const zstd = await Zstd.load();
  if (!Number.isInteger(level) || level < 1 || level > zstd.maxCLevel())
    throw new AccelError('usage', 'no such zstd level', { expected: `1 to ${zstd.maxCLevel()}`, found: level });
  return (block) => zstd.compress(block, level);
}

/**
 * Decompresses `source`, one whole frame, into `target`; the bytes written. Throws `zstd-invalid` for anything else
 * and for a frame that holds more than `target` takes.
 */
export function zstdDecompressBlock(source: Uint8Array, target: Uint8Array): number {
  const walker = new FrameWalker();
  let frames = 0;
  let bytes = 0;
  for (const unit of walker.push(source)) {
    bytes += unit.bytes.length;
    if (unit.kind === 'block') continue;
    frames++;
    const found = unit.header.contentSize;
    if (found === undefined || found > target.length)
      throw invalid('a zstd block holds other than it should', `at most ${target.length} bytes`, found ?? 'unknown');
  }
  walker.finish();
  if (frames !== 1 || bytes !== source.length) throw invalid('a zstd block is not a single frame', 1, frames);
  return decode(source, target);
}

function decode(source: Uint8Array, target: Uint8Array): number {
  try {
    if (nativeZstd === undefined) return decodePlain(source, target);
    const out = nativeZstd.zstdDecompressSync(source, { maxOutputLength: Math.max(1, target.length) });
    target.set(out);
    return out.length;
  } catch (cause) {
    throw new AccelError('zstd-invalid', 'a zstd block is damaged', { cause });
  }
}

/** By fzstd's stream: its call for whole frames believes what a header says of the content's size. */
function decodePlain(source: Uint8Array, target: Uint8Array): number {
  let written = 0;
  const decoder = new Decompress((bytes) => {
    target.set(bytes, written);
    written += bytes.length;
  });
  decoder.push(source, true);
  return written;
}

function invalid(message: string, expected: string | number, found: string | number): AccelError {
  return new AccelError('zstd-invalid', message, { expected, found });
}
