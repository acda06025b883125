/** The WebAssembly inflate (assembly/inflate.ts) behind the contract of inflate-machine.ts. */
import { AccelError } from '../../base/error.ts';
import {
  INFLATE_FAULTS,
  type InflateMachine,
  type InflateStart,
  type InflateStop,
  inflateError,
  OUTPUT_BYTES,
  WINDOW_BYTES,
} from './inflate-machine.ts';
import { instantiate, type KernelMemory, makeKernelMemory, makeOwnKernelMemory } from './instance.ts';
import { INFLATE_WASM, SHARED_INFLATE_WASM } from './wasm.ts';

/** Bytes of input that the kernel holds. */
const INPUT_BYTES = 256 * 1024;

/** Bytes that V8 copies into shared memory at once. */
const WORD = 8;

/** A match or three literals may go past the end of the output before the kernel looks. */
const OUTPUT_SLACK = 4096;

interface InflateExports {
  inputAddress(): number;
  inputPosition(): number;
  setInput(start: number, end: number): void;
  copyInput(from: number, to: number, length: number): void;
  spareBits(): number;
  outputPosition(): number;
  historyPosition(): number;
  begin(atBlocks: number): void;
  prime(value: number, count: number): void;
  nextPiece(): void;
  slide(): number;
  watch(slot: number): void;
  referencesAddress(slot: number): number;
  run(final: number): number;
}

const STOPS: readonly InflateStop[] = ['input', 'output', 'boundary', 'end'];
const FAULTS = Object.keys(INFLATE_FAULTS) as (keyof typeof INFLATE_FAULTS)[];

/**
 * Room for output that others read while the next is made: pieces of {@link OUTPUT_BYTES}, used in turn. Output that does not fit
 * into one, the rest of a match, is at the start of the next.
 */
export interface InflateRing {
  readonly memory: KernelMemory;
  /** From 2. */
  readonly pieces: number;
  /** Returns when nobody reads a piece, from 0, any more: it is going to be written over. */
  readonly waitUntilFree: (piece: number) => void;
}

/** Where output starts in the kernel's memory; its own areas are below. */
const OUTPUT_ADDRESS = 0x68000;

/** Memory for an {@link InflateRing}, with `room` bytes at its end for input: from there the kernel copies it itself. */
export function makeInflateMemory(pieces: number, room: number): KernelMemory {
  return makeKernelMemory(inflateRoom(pieces) + room);
}

/** Where that room starts. */
export function inflateRoom(pieces: number): number {
  return OUTPUT_ADDRESS + pieces * OUTPUT_BYTES + OUTPUT_SLACK;
}

/** Piece `number` of a ring, from 0, for output that another decompressor makes. */
export function ringPiece({ memory }: InflateRing, number: number): Uint8Array {
  return new Uint8Array(memory.buffer, OUTPUT_ADDRESS + number * OUTPUT_BYTES, OUTPUT_BYTES);
}

/** The piece that holds the byte at `address` of a ring's memory. */
export function pieceAt(address: number): number {
  return Math.floor((address - OUTPUT_ADDRESS) / OUTPUT_BYTES);
}

/** The fast {@link InflateMachine}. Without a ring it has 1.5 MiB of memory of its own; use one a thread and a stream. */
export class Inflater implements InflateMachine {
  readonly #kernel: InflateExports;
  readonly #memory: ArrayBufferLike;
  readonly #pieces: number;
  readonly #waitUntilFree: ((piece: number) => void) | undefined;
  readonly #inputAddress: number;
  readonly #input: Uint8Array;
  /** History and output, one behind the other. */
  readonly #output: Uint8Array;
  /** The piece that is being filled. */
  #piece = 0;
  /** End of the input within its area. */
  #inputEnd = 0;
  /** Offset of the first byte of the input area. */
  #inputBase = 0;
  /** Offset of the first byte behind the history. */
  #outputBase = 0;

  constructor(ring?: InflateRing) {
    this.#pieces = ring?.pieces ?? 1;
    this.#waitUntilFree = ring?.waitUntilFree;
    const memory = ring?.memory ?? makeOwnKernelMemory(inflateRoom(this.#pieces));
    this.#memory = memory.buffer;
    this.#kernel = instantiate<InflateExports>(ring === undefined ? INFLATE_WASM : SHARED_INFLATE_WASM, memory);
    this.#inputAddress = this.#kernel.inputAddress();
    this.#input = new Uint8Array(this.#memory, this.#inputAddress, INPUT_BYTES);
    const outputBytes = WINDOW_BYTES + this.#pieces * OUTPUT_BYTES + OUTPUT_SLACK;
    this.#output = new Uint8Array(this.#memory, OUTPUT_ADDRESS - WINDOW_BYTES, outputBytes);
    this.#enter(0);
  }

  get inputOffset(): number {
    return this.#inputBase + this.#inputStart();
  }

  get spareBits(): number {
    return this.#kernel.spareBits();
  }

  get outputOffset(): number {
    return this.#outputBase + this.#kernel.outputPosition() - OUTPUT_ADDRESS;
  }

  get unread(): Uint8Array {
    return this.#input.subarray(this.#inputStart(), this.#inputEnd);
  }

  write(chunk: Uint8Array, from = 0): number {
    const isHere = chunk.buffer === this.#memory;
    const wanted = chunk.length - from;
    const phase = (chunk.byteOffset + from) % WORD;
    // V8 copies into shared memory by single bytes unless both sides are aligned alike, an eighth as fast.
    const isAligned = isHere || this.#inputEnd % WORD === phase;
    if (!isAligned || wanted > INPUT_BYTES - this.#inputEnd) this.#compact(phase);
    const taken = Math.min(wanted, INPUT_BYTES - this.#inputEnd);
    if (isHere) this.#kernel.copyInput(chunk.byteOffset + from, this.#inputAddress + this.#inputEnd, taken);
    else this.#input.set(taken === chunk.length ? chunk : chunk.subarray(from, from + taken), this.#inputEnd);
    this.#setInput(this.#inputStart(), this.#inputEnd + taken);
    return taken;
  }

  skip(count: number): void {
    this.#setInput(this.#inputStart() + count, this.#inputEnd);
  }

  begin(atBlocks: boolean): void {
    this.#kernel.begin(atBlocks ? 1 : 0);
  }

  resume(start: InflateStart): void {
    if (start.window.length !== WINDOW_BYTES)
      throw new AccelError('internal', 'a window of the wrong size', {
        expected: WINDOW_BYTES,
        found: start.window.length,
      });
    this.#inputBase = 0;
    this.#outputBase = 0;
    this.#enter(0);
    this.#setInput(0, 0);
    this.#kernel.begin(0);
    this.#kernel.prime(start.bits === 0 ? 0 : start.byte >>> (8 - start.bits), start.bits);
    this.#output.set(start.window);
  }

  run(final: boolean): InflateStop {
    const stop = this.#kernel.run(final ? 1 : 0);
    if (stop < 0) {
      const fault = FAULTS[-stop - 1]!;
      // A stream that breaks off is decoded some bytes into the padding that follows it.
      throw inflateError(fault, fault === 'truncated' ? this.#inputBase + this.#inputEnd : this.inputOffset);
    }
    return STOPS[stop]!;
  }

  output(from: number): Uint8Array {
    return this.#output.subarray(this.#placeOf(from), this.#placeOf(this.outputOffset));
  }

  release(): void {
    const next = this.#piece + 1;
    if (next < this.#pieces) {
      this.#enter(next);
      this.#kernel.nextPiece();
    } else {
      this.#enter(0);
      this.#outputBase += this.#kernel.slide();
    }
  }

  /** Waits for a piece, and for the next, into which a last match may run over. */
  #enter(piece: number): void {
    this.#piece = piece;
    this.#waitUntilFree?.(piece);
    if (piece + 1 < this.#pieces) this.#waitUntilFree?.(piece + 1);
  }

  window(at: number): Uint8Array {
    const end = this.#placeOf(at);
    const window = this.#output.slice(end - WINDOW_BYTES, end);
    const unmade = this.#kernel.historyPosition() - OUTPUT_ADDRESS + 2 * WINDOW_BYTES - end;
    if (unmade > 0) window.fill(0, 0, unmade);
    return window;
  }

  watch(slot: number): void {
    this.#kernel.watch(slot);
  }

  references(slot: number): Uint8Array {
    return new Uint8Array(this.#memory, this.#kernel.referencesAddress(slot), WINDOW_BYTES / 8);
  }

  /** Where an output offset is in history and output. */
  #placeOf(offset: number): number {
    return offset - this.#outputBase + WINDOW_BYTES;
  }

  #inputStart(): number {
    return this.#kernel.inputPosition() - this.#inputAddress;
  }

  #setInput(start: number, end: number): void {
    this.#inputEnd = end;
    this.#kernel.setInput(this.#inputAddress + start, this.#inputAddress + end);
  }

  /** Moves the unread input to the front, so that its end is aligned as requested. */
  #compact(phase: number): void {
    const start = this.#inputStart();
    const length = this.#inputEnd - start;
    const to = (phase + WORD - (length % WORD)) % WORD;
    this.#input.copyWithin(to, start, this.#inputEnd);
    this.#inputBase += start - to;
    this.#setInput(to, to + length);
  }
}
