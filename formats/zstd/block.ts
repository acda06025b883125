/** Single zstd blocks of a ZFile: each is a whole frame that says how much it holds. */
import { AccelError } from '../../base/error.ts';
import { FrameWalker } from './frames.ts';
import { loadZstdLibrary } from './library.ts';
import { equalNativeCompressor } from './native.ts';

/** The level of blocks unless one is given; the reference's tools have 3. See docs/decisions/0029-default-blocks.md. */
export const DEFAULT_ZSTD_LEVEL = 1;

/**
 * Blocks from so many bytes on are given to Node's own zstd: it makes a context for each call, and below that the
 * WebAssembly is as fast.
 */
const NATIVE_FROM = 32_768;

/**
 * Makes one frame of one block, of at most 64 KiB. The frame may be a view that is valid until the next call. `target` is the byte of
 * a memory where it will be copied to: V8 copies faster into shared memory what lies alike there and here.
 */
export type ZstdBlockCompressor = (block: Uint8Array, target?: number) => Uint8Array;

/**
 * Loads the compressor of blocks at a level. Node's own zstd makes it where its frames are those of the WebAssembly, which
 * makes it elsewhere: the frames are the same whatever the machine. Throws `usage` for a level that there is not.
 */
export async function loadZstdCompressor(level = DEFAULT_ZSTD_LEVEL): Promise<ZstdBlockCompressor> {
  const library = await loadZstdLibrary();
  if (!Number.isInteger(level) || level < 1 || level > library.maxLevel)
    throw new AccelError('usage', 'no such zstd level', { expected: `1 to ${library.maxLevel}`, found: level });
  const native = equalNativeCompressor(library, level);
  return (block, target) =>
    native !== undefined && block.length >= NATIVE_FROM ? native(block) : library.compress(block, level, target);
}

/**
 * Loads the decompressor and answers the function that decompresses `source`, one whole frame, into `target`, and answers
 * the bytes written. It throws `zstd-invalid` for anything else and for a frame that holds more than `target` takes. It is
 * WebAssembly even where Node has zstd, which makes a context for each call and is slower.
 */
export async function loadZstdDecompressor(): Promise<(source: Uint8Array, target: Uint8Array) => number> {
  const library = await loadZstdLibrary();
  return (source, target) => {
    checkFrame(source, target.length);
    const content = library.decompress(source, target.length);
    target.set(content);
    return content.length;
  };
}

function checkFrame(source: Uint8Array, room: number): void {
  const walker = new FrameWalker();
  let frames = 0;
  let bytes = 0;
  for (const unit of walker.push(source)) {
    bytes += unit.bytes.length;
    if (unit.kind === 'block') continue;
    frames++;
    const found = unit.header.contentSize;
    if (found === undefined || found > room)
      throw invalid('a zstd block holds other than it should', `at most ${room} bytes`, found ?? 'unknown');
  }
  walker.finish();
  if (frames !== 1 || bytes !== source.length) throw invalid('a zstd block is not a single frame', 1, frames);
}

function invalid(message: string, expected: string | number, found: string | number): AccelError {
  return new AccelError('zstd-invalid', message, { expected, found });
}
