/** Reading any part of a gzip file's content through its index, fetching only what that part needs. */
import { AccelError } from '../../base/error.ts';
import { Inflater } from '../kernels/inflate.ts';
import { type InflateMachine, type InflateStop, WINDOW_BYTES } from '../kernels/inflate-machine.ts';
import { windowOf } from './gzip-index.ts';
import type { SeekIndex, SeekPoint } from './points.ts';

/** Gives the bytes `from` to `to` (exclusive) of the gzip file; both are within it. */
export type FetchCompressed = (from: number, to: number) => Promise<Uint8Array>;

/** Most bytes asked for at once. */
const FETCH_BYTES = 1 << 20;
/** Most bytes inflated before looking whether they were enough. */
const FEED_BYTES = 32_768;
/** The inflate reads this much ahead of what it decodes. */
const AHEAD_BYTES = 1024;
/** Bytes fetched beyond the place in a span where its end is guessed to lie. */
const GUESS_MARGIN = 16_384;
/** Bytes fetched where the guess was too small. */
const STEP_BYTES = 65_536;
/** Decoders kept for reads that go on where an earlier one stopped; each holds 1.5 MiB. */
const IDLE_CURSORS = 4;

/** Random access to the uncompressed content of a gzip file. Reads may overlap in time. */
export class GzipIndexReader {
  readonly #index: SeekIndex;
  readonly #makeMachine: () => InflateMachine;
  /** Least recently used first. */
  readonly #idle: Cursor[] = [];

  /** `makeMachine` makes the inflate to use; omitted: the WebAssembly one. */
  constructor(index: SeekIndex, makeMachine: () => InflateMachine = () => new Inflater()) {
    this.#index = index;
    this.#makeMachine = makeMachine;
  }

  /** Size of the uncompressed content in bytes. */
  get size(): number {
    return this.#index.uncompressedSize;
  }

  /**
   * Content from `offset` on, `length` bytes or what there is of them. Throws AccelError `gzip-invalid` if the file is
   * damaged, `turbo-invalid` if the index does not belong to it.
   */
  async readAt(offset: number, length: number, fetch: FetchCompressed): Promise<Uint8Array> {
    const end = Math.min(offset + length, this.#index.uncompressedSize);
    if (offset < 0 || end <= offset) return new Uint8Array(0);
    const at = lastAtOrBefore(this.#index.points, offset);
    const cursor = this.#cursorFor(offset, this.#index.points[at]!);
    const result = await cursor.read(offset, end, this.#inputFor(end, at), fetch);
    // A cursor that failed is left to the garbage collector.
    this.#idle.push(cursor);
    if (this.#idle.length > IDLE_CURSORS) this.#idle.shift();
    return result;
  }

  /** A decoder that gets to `offset` with the least work: one that is on the way already, or one put at `point`. */
  #cursorFor(offset: number, point: SeekPoint): Cursor {
    const near = this.#idle.findIndex((cursor) => cursor.reaches(offset, point));
    if (near >= 0) return this.#idle.splice(near, 1)[0]!;
    const machine = this.#idle.length >= IDLE_CURSORS ? this.#idle.shift()!.machine : this.#makeMachine();
    return new Cursor(machine, this.#index, point);
  }

  /** Input for output up to `end`, from access point `at` on. */
  #inputFor(end: number, at: number): InputRange {
    const { points, compressedSize, uncompressedSize } = this.#index;
    const last = lastAtOrBefore(points, end - 1, at);
    const point = points[last]!;
    const next = points[last + 1];
    const most = Math.min(next === undefined ? compressedSize : next.inputOffset + AHEAD_BYTES, compressedSize);
    const share = (end - point.outputOffset) / ((next?.outputOffset ?? uncompressedSize) - point.outputOffset);
    const guess = point.inputOffset + Math.ceil((most - point.inputOffset) * share) + GUESS_MARGIN;
    return { likely: share < 1 ? Math.min(guess, most) : most, most };
  }
}

/** Ends of the input that a read needs: as guessed from its place in the span, and at the most. */
interface InputRange {
  readonly likely: number;
  readonly most: number;
}

/** A decoder somewhere in the file, with the output it still holds. */
class Cursor {
  readonly machine: InflateMachine;
  readonly #index: SeekIndex;
  readonly #point: SeekPoint;
  /** The file's next byte to fetch. */
  #fetched: number;
  /** Fetched bytes that the machine had no room for or has not been given yet. */
  #rest: Uint8Array = new Uint8Array(0);
  #started = false;
  /** Why the machine stopped last. */
  #stop: InflateStop = 'input';
  /** The machine's output is held from here on, as an offset from the point. */
  #held = 0;

  constructor(machine: InflateMachine, index: SeekIndex, point: SeekPoint) {
    this.machine = machine;
    this.#index = index;
    this.#point = point;
    this.#fetched = point.inputOffset - (point.bits > 0 ? 1 : 0);
  }

  /** Whether to go on from here is possible and no more work than to start at `point`, the one nearest to `offset`. */
  reaches(offset: number, point: SeekPoint): boolean {
    const start = this.#point.outputOffset;
    return offset >= start + this.#held && start + this.machine.outputOffset >= point.outputOffset;
  }

  /** Output `offset` to `end`; the likely `input` is fetched at once where it is needed. */
  async read(offset: number, end: number, input: InputRange, fetch: FetchCompressed): Promise<Uint8Array> {
    const result = new Uint8Array(end - offset);
    const from = offset - this.#point.outputOffset;
    let copied = 0;
    if (!this.#started) await this.#start(input, fetch);
    for (;;) {
      const made = this.machine.outputOffset;
      if (made > from + copied) {
        const piece = this.machine.output(from + copied).subarray(0, result.length - copied);
        result.set(piece, copied);
        copied += piece.length;
      }
      if (copied === result.length) return result;
      await this.#more(input, fetch);
    }
  }

  /** Puts the machine at the point: the bits of the byte before the input, and the window. */
  async #start({ likely }: InputRange, fetch: FetchCompressed): Promise<void> {
    const { bits, window } = this.#point;
    const [packed] = await Promise.all([
      typeof window === 'function' ? window() : window,
      this.#fetch(Math.max(likely, this.#fetched + 1), fetch),
    ]);
    const byte = bits > 0 ? this.#rest[0]! : 0;
    if (bits > 0) this.#rest = this.#rest.subarray(1);
    this.machine.resume({ bits, byte, window: windowOf({ window: packed }) });
    this.#started = true;
  }

  /** Makes some more output, fetching if need be. The output so far has been searched. */
  async #more(input: InputRange, fetch: FetchCompressed): Promise<void> {
    if (this.#stop === 'end') throw this.#endsEarly();
    if (this.#stop === 'output') {
      this.#held = Math.max(0, this.machine.outputOffset - WINDOW_BYTES);
      this.machine.release();
    } else if (this.#stop === 'input') {
      if (this.#rest.length === 0) await this.#fetch(this.#nextEnd(input), fetch);
      const taken = this.machine.write(this.#rest.subarray(0, FEED_BYTES));
      this.#rest = this.#rest.subarray(taken);
    }
    this.#stop = this.machine.run(this.#rest.length === 0 && this.#fetched >= this.#index.compressedSize);
  }

  /** Where the next fetch ends: at what is likely, then in steps up to the most, then just ahead of the decoder. */
  #nextEnd({ likely, most }: InputRange): number {
    if (this.#fetched < likely) return likely;
    return this.#fetched < most ? Math.min(this.#fetched + STEP_BYTES, most) : this.#fetched + AHEAD_BYTES;
  }

  async #fetch(end: number, fetch: FetchCompressed): Promise<void> {
    const to = Math.min(end, this.#fetched + FETCH_BYTES, this.#index.compressedSize);
    if (to <= this.#fetched) return;
    this.#rest = await fetch(this.#fetched, to);
    if (this.#rest.length !== to - this.#fetched)
      throw new AccelError('io-error', 'a read of the compressed layer gave another number of bytes', {
        where: { 'compressed byte': this.#fetched },
        expected: to - this.#fetched,
        found: this.#rest.length,
      });
    this.#fetched = to;
  }

  #endsEarly(): AccelError {
    return new AccelError('turbo-invalid', 'the gzip stream ends before its index says', {
      where: { 'output byte': this.#point.outputOffset + this.machine.outputOffset },
      expected: this.#index.uncompressedSize,
      found: this.#point.outputOffset + this.machine.outputOffset,
      hint: 'the index does not belong to this layer; convert the image again',
    });
  }
}

/** Place of the last point at or before output `offset`, searched from place `from` on. */
function lastAtOrBefore(points: readonly SeekPoint[], offset: number, from = 0): number {
  let low = from;
  let high = points.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (points[middle]!.outputOffset <= offset) low = middle;
    else high = middle;
  }
  return low;
}
