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
import { instantiate, type KernelExports } from './instance.ts';
import { INFLATE_WASM } from './wasm.ts';

/** Bytes of input that the kernel holds. */
const INPUT_BYTES = 256 * 1024;

/** A match or three literals may go past the end of the output before the kernel looks. */
const OUTPUT_SLACK = 4096;

interface InflateExports extends KernelExports {
  inputAddress(): number;
  inputPosition(): number;
  setInput(start: number, end: number): void;
  spareBits(): number;
  outputAddress(): number;
  outputPosition(): number;
  historyPosition(): number;
  begin(atBlocks: number): void;
  prime(value: number, count: number): void;
  slide(): number;
  watch(slot: number): void;
  referencesAddress(slot: number): number;
  run(final: number): number;
}

const STOPS: readonly InflateStop[] = ['input', 'output', 'boundary', 'end'];
const FAULTS = Object.keys(INFLATE_FAULTS) as (keyof typeof INFLATE_FAULTS)[];

/** The fast {@link InflateMachine}. An instance holds 1.5 MiB of memory; use one a thread and a stream. */
export class Inflater implements InflateMachine {
  readonly #kernel = instantiate<InflateExports>(INFLATE_WASM);
  readonly #inputAddress = this.#kernel.inputAddress();
  readonly #outputAddress = this.#kernel.outputAddress();
  readonly #input = new Uint8Array(this.#kernel.memory.buffer, this.#inputAddress, INPUT_BYTES);
  /** History and output, one behind the other. */
  readonly #output = new Uint8Array(
    this.#kernel.memory.buffer,
    this.#outputAddress - WINDOW_BYTES,
    WINDOW_BYTES + OUTPUT_BYTES + OUTPUT_SLACK,
  );
  /** End of the input within its area. */
  #inputEnd = 0;
  /** Offset of the first byte of the input area. */
  #inputBase = 0;
  /** Offset of the first byte behind the history. */
  #outputBase = 0;

  get inputOffset(): number {
    return this.#inputBase + this.#inputStart();
  }

  get spareBits(): number {
    return this.#kernel.spareBits();
  }

  get outputOffset(): number {
    return this.#outputBase + this.#kernel.outputPosition() - this.#outputAddress;
  }

  get unread(): Uint8Array {
    return this.#input.subarray(this.#inputStart(), this.#inputEnd);
  }

  write(chunk: Uint8Array, from = 0): number {
    const wanted = chunk.length - from;
    if (wanted > INPUT_BYTES - this.#inputEnd) this.#compact();
    const taken = Math.min(wanted, INPUT_BYTES - this.#inputEnd);
    this.#input.set(taken === chunk.length ? chunk : chunk.subarray(from, from + taken), this.#inputEnd);
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
    this.#setInput(0, 0);
    this.#kernel.begin(0);
    this.#kernel.prime(start.bits === 0 ? 0 : start.byte >>> (8 - start.bits), start.bits);
    this.#output.set(start.window);
  }

  run(final: boolean): InflateStop {
    const stop = this.#kernel.run(final ? 1 : 0);
    if (stop < 0) throw inflateError(FAULTS[-stop - 1]!, this.inputOffset);
    return STOPS[stop]!;
  }

  output(from: number): Uint8Array {
    return this.#output.subarray(this.#placeOf(from), this.#placeOf(this.outputOffset));
  }

  release(): void {
    this.#outputBase += this.#kernel.slide();
  }

  window(at: number): Uint8Array {
    const end = this.#placeOf(at);
    const window = this.#output.slice(end - WINDOW_BYTES, end);
    const unmade = this.#kernel.historyPosition() - this.#outputAddress + 2 * WINDOW_BYTES - end;
    if (unmade > 0) window.fill(0, 0, unmade);
    return window;
  }

  watch(slot: number): void {
    this.#kernel.watch(slot);
  }

  references(slot: number): Uint8Array {
    return new Uint8Array(this.#kernel.memory.buffer, this.#kernel.referencesAddress(slot), WINDOW_BYTES / 8);
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

  /** Moves the unread input to the front. */
  #compact(): void {
    const start = this.#inputStart();
    this.#input.copyWithin(0, start, this.#inputEnd);
    this.#inputBase += start;
    this.#setInput(0, this.#inputEnd - start);
  }
}
