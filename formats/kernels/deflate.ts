/** The WebAssembly deflate (assembly/deflate.ts): the same bytes on every platform and Node version. */
import { AccelError } from '../../base/error.ts';
import { WINDOW_BYTES } from './inflate-machine.ts';
import { instantiate, makeOwnKernelMemory } from './instance.ts';
import { DEFLATE_WASM } from './wasm.ts';

interface DeflateExports {
  deflate(length: number, sparse: number, isLast: number): number;
  checksum(length: number, before: number): number;
}

// The memory as the kernel has it.
const REFERENCES_AT = 0xa_1000;
const INPUT_AT = 0xb_0000;
const OUTPUT_AT = 0xf_1000;
const MEMORY_BYTES = 0x14_0000;

/** Bytes that are deflated at once; matches do not reach farther. */
export const DEFLATE_PIECE = 1 << 18;

/** RFC 1950 §2.2: deflate, a window of 32 KiB, a fast algorithm. */
const ZLIB_HEADER = [0x78, 0x5e] as const;
const FIRST_CHECKSUM = 1;

let deflater: Deflater | undefined;

/** The deflater of this thread: a new one for each artifact would be new memory for each. */
export function threadDeflater(): Deflater {
  deflater ??= new Deflater();
  return deflater;
}

/** Deflates; has 1.25 MiB of memory, of which a window uses a third. One a thread. */
export class Deflater {
  readonly #kernel: DeflateExports;
  readonly #references: Uint8Array;
  readonly #input: Uint8Array;
  readonly #memory: ArrayBuffer;

  constructor() {
    const memory = makeOwnKernelMemory(MEMORY_BYTES);
    this.#memory = memory.buffer;
    this.#kernel = instantiate<DeflateExports>(DEFLATE_WASM, memory);
    this.#references = new Uint8Array(this.#memory, REFERENCES_AT, WINDOW_BYTES / 8);
    this.#input = new Uint8Array(this.#memory, INPUT_AT, DEFLATE_PIECE);
  }

  /**
   * The bytes as a zlib stream (RFC 1950). `references` has a bit for each of at most {@link WINDOW_BYTES} bytes, bit `i & 7` of its
   * byte `i >> 3`: a byte whose bit is 0 may come out as any other.
   */
  zlib(bytes: Uint8Array, references?: Uint8Array): Uint8Array {
    if (references !== undefined) {
      const needed = Math.ceil(bytes.length / 8);
      if (bytes.length > WINDOW_BYTES || references.length < needed)
        throw new AccelError('internal', 'a window of the wrong size', {
          expected: `at most ${WINDOW_BYTES} bytes with a bit for each`,
          found: `${bytes.length} bytes, ${references.length} bytes of bits`,
        });
      this.#references.set(references.subarray(0, needed));
    }
    let checksum = FIRST_CHECKSUM;
    const pieces = this.#pieces(bytes, (from, length) => {
      const output = this.#deflate(length, references !== undefined, from + length === bytes.length);
      checksum = this.#kernel.checksum(length, checksum);
      return output;
    });
    const trailer = Buffer.alloc(4);
    trailer.writeInt32BE(checksum | 0);
    return concat([Uint8Array.from(ZLIB_HEADER), ...pieces, trailer]);
  }

  /** The bytes as blocks of deflate that end at a whole byte, none of them the last: others can follow. */
  blocks(bytes: Uint8Array): Uint8Array[] {
    return this.#pieces(bytes, (_, length) => this.#deflate(length, false, false));
  }

  /** Collects what `deflate` makes of each piece; without bytes one piece is empty. */
  #pieces(bytes: Uint8Array, deflate: (from: number, length: number) => Uint8Array): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    let from = 0;
    do {
      const piece = bytes.subarray(from, from + DEFLATE_PIECE);
      this.#input.set(piece);
      pieces.push(deflate(from, piece.length));
      from += piece.length;
    } while (from < bytes.length);
    return pieces;
  }

  #deflate(length: number, sparse: boolean, isLast: boolean): Uint8Array {
    const size = this.#kernel.deflate(length, sparse ? 1 : 0, isLast ? 1 : 0);
    return new Uint8Array(this.#memory, OUTPUT_AT, size).slice();
  }
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
