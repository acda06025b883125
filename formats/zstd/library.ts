/**
 * zstd as WebAssembly, the same on every Node. The package's own calls spread each result into an array of numbers, which
 * takes six times as long as to compress: its functions are called here on memory of their own instead.
 */
import { AccelError } from '../../base/error.ts';
import { MAX_BLOCK_SIZE } from './layout.ts';

/** The private parts of the package, in its exact version; {@link loadZstdLibrary} looks whether it is there. */
interface Insides {
  readonly _mainModule: { readonly _module: { readonly HEAPU8: Uint8Array; _malloc(bytes: number): number } };
  readonly _zstdClass: ZstdFunctions;
}

interface ZstdFunctions {
  new (): ZstdStream;
  version(): string;
  maxCLevel(): number;
  isError(code: number): number;
  getErrorName(code: number): string;
  compress(...call: readonly [to: number, room: number, from: number, bytes: number, level: number]): number;
  decompress(to: number, room: number, from: number, bytes: number): number;
}

interface ZstdStream {
  decompressChunk(to: number, room: number, from: number, bytes: number): number;
  delete(): void;
}

/** Most bytes of a call: a block of a stream with its headers, or a frame of a ZFile's block that does not shrink. */
const INPUT_ROOM = 2 * MAX_BLOCK_SIZE;
/** A block of a stream, or a ZFile's block as a frame: at most 64 KiB and a little. */
const OUTPUT_ROOM = 2 * MAX_BLOCK_SIZE;
/** Bytes to which V8 wants both sides of a copy to be aligned alike. */
const WORD = 8;

/** The library in this thread. Calls take at most 256 KiB and give at most that. */
export class ZstdLibrary {
  readonly #insides: Insides;
  readonly #input: number;
  readonly #output: number;

  /** `insides` of a loaded package. */
  constructor(insides: Insides) {
    this.#insides = insides;
    this.#input = insides._mainModule._module._malloc(INPUT_ROOM);
    this.#output = insides._mainModule._module._malloc(OUTPUT_ROOM + WORD);
  }

  /** Version of the zstd inside, such as 1.5.7. */
  get version(): string {
    return this.#insides._zstdClass.version();
  }

  /** The highest level. */
  get maxLevel(): number {
    return this.#insides._zstdClass.maxCLevel();
  }

  /** One frame of `block`; a view that is valid until the next call, and lies in words as byte `target` of a memory does. */
  compress(block: Uint8Array, level: number, target = 0): Uint8Array {
    this.#put(block);
    const to = this.#output + (target % WORD);
    return this.#take(this.#insides._zstdClass.compress(to, OUTPUT_ROOM, this.#input, block.length, level), to);
  }

  /** The content, at most `room` bytes, of whole frames; a view that is valid until the next call. Throws `zstd-invalid`. */
  decompress(frames: Uint8Array, room: number): Uint8Array {
    this.#put(frames);
    return this.#take(this.#insides._zstdClass.decompress(this.#output, room, this.#input, frames.length));
  }

  /**
   * A decoder of one stream of frames. It takes headers and whole blocks and answers their content, a view that is valid
   * until the next call of the library; no bytes for what is damaged. `close` gives its window back.
   */
  decoder(): { push(block: Uint8Array): Uint8Array; close(): void } {
    const stream = new this.#insides._zstdClass();
    return {
      push: (block) => {
        this.#put(block);
        return this.#take(stream.decompressChunk(this.#output, OUTPUT_ROOM, this.#input, block.length));
      },
      close: () => stream.delete(),
    };
  }

  #put(bytes: Uint8Array): void {
    if (bytes.length > INPUT_ROOM)
      throw new AccelError('zstd-invalid', 'too much for one zstd block', {
        expected: INPUT_ROOM,
        found: bytes.length,
      });
    this.#heap.set(bytes, this.#input);
  }

  #take(size: number, from = this.#output): Uint8Array {
    if (this.#insides._zstdClass.isError(size))
      throw new AccelError('zstd-invalid', 'the zstd data is damaged', {
        found: this.#insides._zstdClass.getErrorName(size),
      });
    return this.#heap.subarray(from, from + size);
  }

  /** The memory, which a larger one replaces when it grows. */
  get #heap(): Uint8Array {
    return this.#insides._mainModule._module.HEAPU8;
  }
}

let loading: Promise<ZstdLibrary> | undefined;

/** The library of this thread. Throws `internal` if the package is another inside than its version should be. */
export function loadZstdLibrary(): Promise<ZstdLibrary> {
  loading ??= load();
  return loading;
}

async function load(): Promise<ZstdLibrary> {
  // Who compresses with LZ4 does without it.
  const { Zstd } = await import('@hpcc-js/wasm-zstd');
  const insides = (await Zstd.load()) as unknown as Partial<Insides>;
  const module = insides._mainModule?._module;
  if (!(module?.HEAPU8 instanceof Uint8Array) || insides._zstdClass === undefined)
    throw new AccelError('internal', 'the zstd package is not the version that accel was built with');
  return new ZstdLibrary(insides as Insides);
}
