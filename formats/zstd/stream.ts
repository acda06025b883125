/** Decompresses zstd source layers: any number of frames, skippable ones among them. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Decompress } from 'fzstd';
import { AccelError } from '../../base/error.ts';
import { type FrameUnit, FrameWalker } from './frames.ts';
import { CHECKSUM_SIZE, type FrameHeader, littleEndian } from './layout.ts';
import { type NativeZstd, nativeZstd } from './native.ts';
import { Xxh64 } from './xxh64.ts';

/**
 * The content of a zstd stream, in pieces. Takes multiple and skippable frames; throws `zstd-invalid` for truncated
 * input, anything that is no frame, dictionaries and windows above 128 MiB, and where a frame's size or checksum is not
 * that of its content. Where Node has zstd (22.15 and later) it does the work, elsewhere fzstd, in the calling thread.
 * `native` is for tests: null takes fzstd.
 */
export async function* zstdDecompressStream(
  source: AsyncIterable<Uint8Array>,
  native: NativeZstd | null = nativeZstd ?? null,
): AsyncGenerator<Uint8Array> {
  const units = walk(source);
  try {
    for (;;) {
      const first = await units.next();
      if (first.done === true) return;
      yield* native === null ? decodePlain(first.value, units) : decodeNative(native, first.value, units);
    }
  } finally {
    await units.return(undefined);
  }
}

async function* walk(source: AsyncIterable<Uint8Array>): AsyncGenerator<FrameUnit, undefined> {
  const walker = new FrameWalker();
  for await (const chunk of source) yield* walker.push(chunk);
  walker.finish();
}

/** The units of one frame; leaves `units` open behind its last. */
async function* frameUnits(first: FrameUnit, units: AsyncIterator<FrameUnit>): AsyncGenerator<FrameUnit> {
  yield first;
  for (;;) {
    const { done, value } = await units.next();
    if (done === true) return;
    yield value;
    if (value.kind === 'block' && value.last) return;
  }
}

/** Holds what fzstd makes of a frame against what the frame says of it; node:zlib does that itself. */
class FrameCheck {
  readonly #hash: Xxh64 | undefined;
  readonly #contentSize: number | undefined;
  #size = 0;

  constructor(header: FrameHeader) {
    this.#hash = header.checksum ? new Xxh64() : undefined;
    this.#contentSize = header.contentSize;
  }

  add(bytes: Uint8Array): void {
    this.#size += bytes.length;
    if (this.#contentSize !== undefined && this.#size > this.#contentSize)
      throw new AccelError('zstd-invalid', 'a zstd frame holds more than it says', { expected: this.#contentSize });
    this.#hash?.update(bytes);
  }

  /** `last`: the last block, followed by the checksum if the frame has one. */
  finish(last: Uint8Array): void {
    if (this.#contentSize !== undefined && this.#size !== this.#contentSize)
      throw new AccelError('zstd-invalid', 'a zstd frame holds less than it says', {
        expected: this.#contentSize,
        found: this.#size,
      });
    if (this.#hash === undefined) return;
    const expected = littleEndian(last, last.length - CHECKSUM_SIZE, CHECKSUM_SIZE);
    const found = Number(this.#hash.digest() & 0xffff_ffffn);
    if (found !== expected)
      throw new AccelError('zstd-invalid', 'a zstd frame does not match its checksum', { expected, found });
  }
}

async function* decodePlain(first: FrameUnit, units: AsyncIterator<FrameUnit>): AsyncGenerator<Uint8Array> {
  const out: Uint8Array[] = [];
  const decoder = new Decompress((bytes) => {
    if (bytes.length > 0) out.push(bytes);
  });
  let check: FrameCheck | undefined;
  // fzstd wants more than a header at first, and keeps what it is given until it has enough: hence joined and copied.
  let before: Uint8Array = new Uint8Array(0);
  for await (const unit of frameUnits(first, units)) {
    if (unit.kind === 'header') {
      before = unit.bytes.slice();
      check = new FrameCheck(unit.header);
      continue;
    }
    try {
      decoder.push(Buffer.concat([before, unit.bytes]), unit.last);
    } catch (cause) {
      throw damaged(cause);
    }
    before = new Uint8Array(0);
    for (const bytes of out.splice(0)) {
      check?.add(bytes);
      yield bytes;
    }
    if (unit.last) check?.finish(unit.bytes);
  }
}

async function* decodeNative(
  native: NativeZstd,
  first: FrameUnit,
  units: AsyncIterator<FrameUnit>,
): AsyncGenerator<Uint8Array> {
  const decoder = native.createZstdDecompress();
  let failure: { readonly error: unknown } | undefined;
  const bytes = async function* (): AsyncGenerator<Uint8Array> {
    try {
      // Copies: a stream reads ahead, and a unit may be a view of a chunk that its source fills again.
      for await (const unit of frameUnits(first, units)) yield unit.bytes.slice();
    } catch (error) {
      failure = { error };
      throw error;
    }
  };
  const ended = pipeline(Readable.from(bytes()), decoder).catch((error: unknown) => error);
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array;
  } catch (error) {
    // The failure of the source, or of the walk over its frames, says more than the decoder's own error.
    await ended;
    throw failure === undefined ? damaged(error) : failure.error;
  }
}

function damaged(cause: unknown): AccelError {
  return new AccelError('zstd-invalid', 'the zstd stream is damaged', {
    hint: 'the blob is not what its manifest describes: push the image again',
    cause,
  });
}
