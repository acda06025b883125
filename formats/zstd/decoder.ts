/** Decodes a zstd stream as it comes in: any number of frames, skippable ones among them. */
import { AccelError } from '../../base/error.ts';
import { type FrameUnit, FrameWalker } from './frames.ts';
import { BLOCK_HEADER_SIZE, littleEndian } from './layout.ts';
import type { ZstdLibrary } from './library.ts';

/** A frame of one byte, without a checksum. */
const PROBE = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 9, 0, 0, 0x70);

/**
 * Any number of {@link push}, then {@link finish}, and {@link close} in any case. Structure, truncation, windows and what
 * is between frames are judged by the walk over the frames; sizes, checksums and content by the library.
 */
export class ZstdDecoder {
  readonly #walker = new FrameWalker();
  readonly #decoder: ReturnType<ZstdLibrary['decoder']>;

  constructor(library: ZstdLibrary) {
    this.#decoder = library.decoder();
  }

  /** The content that `chunk` completes, in views that are valid until the next. Throws `zstd-invalid`. */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    for (const unit of this.#walker.push(chunk)) {
      const content = this.#decoder.push(unit.bytes);
      if (content.length > 0) yield content;
      else this.#checkEmpty(unit);
    }
  }

  /** Ends the stream. Throws `zstd-invalid` unless it ends after a frame. */
  finish(): void {
    this.#walker.finish();
  }

  /** Gives the memory of the window back. */
  close(): void {
    this.#decoder.close();
  }

  /**
   * The package answers no bytes for what is damaged, and for damaged checksums and sizes, too. Where a block holds no
   * bytes of its own, a frame that follows the last block shows the difference: a decoder that failed does not read it.
   */
  #checkEmpty(unit: FrameUnit): void {
    if (unit.kind === 'header') return;
    const isEmpty = littleEndian(unit.bytes, 0, BLOCK_HEADER_SIZE) >>> 3 === 0;
    if (isEmpty && (!unit.last || this.#decoder.push(PROBE)[0] === PROBE.at(-1))) return;
    throw new AccelError('zstd-invalid', 'the zstd stream is damaged', {
      hint: 'the blob is not what its manifest describes: push the image again',
    });
  }
}
