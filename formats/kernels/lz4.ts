/** LZ4 blocks as a ZFile holds them (docs/formats.md §2): compression in WebAssembly, decompression in plain TypeScript. */
import { AccelError } from '../../base/error.ts';
import { instantiate, type KernelMemory, makeKernelMemory } from './instance.ts';
import { lz4Attempts } from './lz4-levels.ts';
import { LZ4_HIGH_WASM, LZ4_WASM } from './wasm.ts';

/** The most bytes that one call of a {@link BlockCompressor} takes. */
export const LZ4_MAX_INPUT = 1 << 20;
/** Bounds of a block's size in bytes; above 64 KiB liblz4 would use another table and give other bytes. */
const MIN_BLOCK = 4096;
const MAX_BLOCK = 65536;
/** Bytes of the salted CRC-32C after each block. */
const CHECKSUM_BYTES = 4;

/** Compressed blocks one after another, each followed by its checksum. */
export interface CompressedBlocks {
  /** All blocks; a view that the next call overwrites. */
  readonly bytes: Uint8Array;
  /** Bytes of each block including its 4 bytes of checksum; a view that the next call overwrites. */
  readonly lengths: Uint32Array;
}

/** Cuts input into blocks and compresses each; the kernel and its plain twin both are one. */
export interface BlockCompressor {
  /**
   * `input` (at most {@link LZ4_MAX_INPUT} bytes) as blocks of `blockSize` bytes, 4096 to 65536, the last one what is
   * left. Each is what liblz4's LZ4_compress_default makes of it, or a smaller one where a level (lz4-levels.ts) is
   * given; then the CRC-32C of that with the register started at 100007, little-endian.
   */
  compress(input: Uint8Array, blockSize: number, level?: number): CompressedBlocks;
}

interface Lz4Exports {
  compress(slot: number, length: number, blockSize: number): number;
  seal(slot: number, blocks: number): void;
}

interface Lz4HighExports {
  compress(slot: number, length: number, blockSize: number, attempts: number): number;
}

// The memory as the kernels have it (assembly/lz4-block.ts): bytes before the first slot, of a slot, and to its parts.
const FIRST_SLOT = 0xc_0000;
const SLOT_BYTES = 0x23_8000;
const LENGTHS_AT = 0;
const INPUT_AT = 0x4000;
const OUTPUT_AT = 0x11_4000;

/** Memory for kernels in any number of threads to compress `slots` batches in, at most 100. */
export function makeLz4Memory(slots: number): KernelMemory {
  return makeKernelMemory(FIRST_SLOT + slots * SLOT_BYTES);
}

/** A batch's place in a memory: what goes in and what comes out. */
export interface Lz4Slot {
  /** {@link LZ4_MAX_INPUT} bytes. */
  readonly input: Uint8Array;
  /** Blocks and checksums; whatever the input holds and the block size is, they fit. */
  readonly output: Uint8Array;
  /** Bytes of each block with its checksum. */
  readonly lengths: Uint32Array;
}

/** Views of a slot of a memory, from 0. */
export function lz4Slot({ buffer }: KernelMemory, slot: number): Lz4Slot {
  const start = FIRST_SLOT + slot * SLOT_BYTES;
  return {
    input: new Uint8Array(buffer, start + INPUT_AT, LZ4_MAX_INPUT),
    output: new Uint8Array(buffer, start + OUTPUT_AT, SLOT_BYTES - OUTPUT_AT),
    lengths: new Uint32Array(buffer, start + LENGTHS_AT, LZ4_MAX_INPUT / MIN_BLOCK),
  };
}

/** The WebAssembly {@link BlockCompressor}, in a memory whose batches others fill and read; one a memory. */
export class Lz4Compressor implements BlockCompressor {
  readonly #memory: KernelMemory;
  readonly #fast: Lz4Exports;
  #high: Lz4HighExports | undefined;

  /** `memory` is of {@link makeLz4Memory}; left out, it is the instance's own. */
  constructor(memory: KernelMemory = makeLz4Memory(1)) {
    this.#memory = memory;
    this.#fast = instantiate<Lz4Exports>(LZ4_WASM, memory);
  }

  compress(input: Uint8Array, blockSize: number, level?: number): CompressedBlocks {
    checkBatch(input.length, blockSize);
    const slot = lz4Slot(this.#memory, 0);
    slot.input.set(input);
    const length = this.compressSlot(0, input.length, { blockSize, level });
    return {
      bytes: slot.output.subarray(0, length),
      lengths: slot.lengths.subarray(0, Math.ceil(input.length / blockSize)),
    };
  }

  /** Compresses the first `length` bytes of a slot's input, in place; returns the bytes of output. */
  compressSlot(
    slot: number,
    length: number,
    { blockSize, level }: { readonly blockSize: number; readonly level?: number | undefined },
  ): number {
    checkBatch(length, blockSize);
    if (level === undefined) return this.#fast.compress(slot, length, blockSize);
    this.#high ??= instantiate<Lz4HighExports>(LZ4_HIGH_WASM, this.#memory);
    return this.#high.compress(slot, length, blockSize, lz4Attempts(level));
  }

  /**
   * Writes the checksums of a slot's first `blocks` blocks. Another compressor has put the blocks into its output, each with room for
   * its checksum after it, and the lengths with that room.
   */
  sealSlot(slot: number, blocks: number): void {
    this.#fast.seal(slot, blocks);
  }
}

/** Throws AccelError `internal` unless a {@link BlockCompressor} may be given this much input in blocks of this size. */
export function checkBatch(length: number, blockSize: number): void {
  if (length > LZ4_MAX_INPUT)
    throw new AccelError('internal', 'too much input for one call of the LZ4 kernel', {
      expected: LZ4_MAX_INPUT,
      found: length,
    });
  if (!Number.isInteger(blockSize) || blockSize < MIN_BLOCK || blockSize > MAX_BLOCK)
    throw new AccelError('internal', 'block size out of range', {
      expected: `${MIN_BLOCK} to ${MAX_BLOCK}`,
      found: blockSize,
    });
}

/** The most bytes a block of `size` can take with its checksum, whatever it holds. */
export function lz4BlockBound(size: number): number {
  return size + Math.floor(size / 255) + 16 + CHECKSUM_BYTES;
}

/**
 * Decompresses one LZ4 block (without its checksum) into `target`; returns the bytes written. Every read and write is
 * bounded: anything that is not a whole, valid block that fits is AccelError `zfile-invalid`.
 */
export function lz4DecompressBlock(source: Uint8Array, target: Uint8Array): number {
  const sourceEnd = source.length;
  const targetEnd = target.length;
  let from = 0;
  let to = 0;
  for (;;) {
    if (from >= sourceEnd) throw damaged('ends before its last sequence', from);
    const token = source[from++]!;

    let literals = token >>> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (from >= sourceEnd) throw damaged('ends inside a length', from);
        more = source[from++]!;
        literals += more;
      } while (more === 255);
    }
    if (literals > sourceEnd - from) throw damaged('ends inside literals', from);
    if (literals > targetEnd - to) throw damaged(`holds more than ${targetEnd} bytes`, from);
    if (literals <= 32) {
      for (const end = from + literals; from < end; ) target[to++] = source[from++]!;
    } else {
      target.set(source.subarray(from, from + literals), to);
      from += literals;
      to += literals;
    }
    if (from === sourceEnd) return to;

    if (sourceEnd - from < 2) throw damaged('ends inside an offset', from);
    const distance = source[from]! | (source[from + 1]! << 8);
    if (distance === 0 || distance > to) throw damaged(`has an offset of ${distance} at output byte ${to}`, from);
    from += 2;

    let length = (token & 15) + 4;
    if (length === 19) {
      let more: number;
      do {
        if (from >= sourceEnd) throw damaged('ends inside a length', from);
        more = source[from++]!;
        length += more;
      } while (more === 255);
    }
    if (length > targetEnd - to) throw damaged(`holds more than ${targetEnd} bytes`, from);
    const match = to - distance;
    if (length <= 32) {
      for (const end = to + length, shift = distance; to < end; to++) target[to] = target[to - shift]!;
    } else if (distance >= length) {
      target.copyWithin(to, match, match + length);
      to += length;
    } else {
      to = repeat(target, to, distance, length);
    }
  }
}

/** Appends `length` bytes that repeat the `distance` bytes before `to`, doubling what is there; returns the new end. */
function repeat(target: Uint8Array, to: number, distance: number, length: number): number {
  const start = to - distance;
  const end = to + length;
  if (distance === 1) target.fill(target[start]!, to, end);
  let at = distance === 1 ? end : to;
  while (at < end) {
    const step = Math.min(at - start, end - at);
    target.copyWithin(at, start, start + step);
    at += step;
  }
  return end;
}

function damaged(what: string, byte: number): AccelError {
  return new AccelError('zfile-invalid', `an LZ4 block ${what}`, {
    where: { 'byte of the block': byte },
    hint: 'the blob is damaged or was not written by a ZFile writer; fetch it again',
  });
}
