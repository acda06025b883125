/** Choosing access points while a stream is inflated, and making their windows small. */
import { AccelError } from '../../base/error.ts';
import { threadDeflater } from '../kernels/deflate.ts';
import { type InflateMachine, WINDOW_BYTES } from '../kernels/inflate-machine.ts';
import type { AccessPoint } from './points.ts';

/** The least span: the reference refuses a smaller one, and two watched points must be further apart than a window. */
export const MIN_SPAN = 65_536;
/** The greatest span: the index holds it as a signed 32-bit number. */
export const MAX_SPAN = 0x7fff_ffff;

/**
 * Makes the zlib stream of a window, which is its own from then on; called once for each access point, in their order. Where
 * there are `references` (inflate-machine.ts), a view that is valid during the call, bytes whose bit is not set may come out
 * as any others.
 */
export type WindowPacker = (window: Uint8Array, references: Uint8Array | undefined) => Uint8Array;

/** The usual {@link WindowPacker}: the same bytes on every platform. */
export function packWindow(window: Uint8Array, references: Uint8Array | undefined): Uint8Array {
  return threadDeflater().zlib(window, references);
}

/** A block boundary that is or may become an access point. */
interface Candidate {
  readonly outputOffset: number;
  readonly inputOffset: number;
  readonly bits: number;
  /** The machine's log of references to this boundary's window; undefined where it was not asked to keep one. */
  readonly slot: number | undefined;
  /** The window as it was, copied before the output moves on. */
  window?: Uint8Array;
}

/**
 * Keeps, for each multiple of the span, the last block boundary at or before it, as the reference does. Of the windows only
 * bytes that the next 32 KiB of output read are kept, because behind those no match reaches the window.
 */
export class AccessPointRecorder {
  /** The points so far whose windows are final. */
  readonly points: AccessPoint[] = [];
  readonly #machine: InflateMachine;
  readonly #span: number;
  readonly #pack: WindowPacker;
  /** The multiple of the span that the next point is for. */
  #goal = 0;
  /** The last boundary at or before the goal, so far. */
  #candidate: Candidate | undefined;
  /** A chosen boundary whose window may still be read. */
  #watched: Candidate | undefined;
  /** Output of the longest block since the last point and, before that, between the two points before. */
  #longest = 0;
  #longestBefore = 0;
  #lastBoundary = 0;

  /** Records what `machine` does; `span` in bytes, {@link MIN_SPAN} to {@link MAX_SPAN}. */
  constructor(machine: InflateMachine, span: number, pack: WindowPacker = packWindow) {
    if (!Number.isInteger(span) || span < MIN_SPAN || span > MAX_SPAN)
      throw new AccelError('usage', 'the span of a gzip index is out of range', {
        expected: `${MIN_SPAN} to ${MAX_SPAN} bytes`,
        found: span,
        hint: 'the default of 1 MiB suits nearly every image',
      });
    this.#machine = machine;
    this.#span = span;
    this.#pack = pack;
  }

  /** The machine is at the start of the stream, or at a boundary after a block that is not the last. */
  boundary(): void {
    const at = this.#machine.outputOffset;
    if (this.#watched !== undefined && at - this.#watched.outputOffset >= WINDOW_BYTES) this.#settle();
    if (at > this.#goal) this.#choose();
    while (this.#goal < at) this.#goal += this.#span;
    this.#longest = Math.max(this.#longest, at - this.#lastBoundary);
    this.#lastBoundary = at;
    const slot = this.#mayBeLast(at) ? (this.#watched?.slot === 0 ? 1 : 0) : undefined;
    this.#candidate = {
      outputOffset: at,
      inputOffset: this.#machine.inputOffset,
      bits: this.#machine.spareBits,
      slot,
    };
    if (slot !== undefined) this.#machine.watch(slot);
    if (at === this.#goal) {
      this.#choose();
      this.#goal += this.#span;
    }
  }

  /**
   * Whether a boundary is near enough to the goal to be the last before it, going by the blocks of late. Logging what is
   * read of a window slows inflating down, so it is not done for every block. A block that is much
   * longer than those before it makes this wrong: then the point's window is kept whole, larger and as good.
   */
  #mayBeLast(at: number): boolean {
    return this.#goal - at <= 2 * Math.max(this.#longest, this.#longestBefore, WINDOW_BYTES);
  }

  /** The machine is about to give its output up. */
  beforeRelease(): void {
    if (this.#candidate !== undefined) this.#keepWindow(this.#candidate);
  }

  /** The stream ended: all points are final now. */
  finish(): void {
    if (this.#machine.outputOffset > this.#goal) this.#choose();
    this.#settle();
  }

  #choose(): void {
    if (this.#candidate === undefined) return;
    this.#settle();
    this.#keepWindow(this.#candidate);
    this.#watched = this.#candidate;
    this.#candidate = undefined;
    this.#longestBefore = this.#longest;
    this.#longest = 0;
  }

  #keepWindow(candidate: Candidate): void {
    candidate.window ??= this.#machine.window(candidate.outputOffset);
  }

  /** Makes the point of the watched boundary: nothing reads its window any more. */
  #settle(): void {
    const chosen = this.#watched;
    if (chosen?.window === undefined) return;
    this.#watched = undefined;
    const { slot, window } = chosen;
    this.points.push({
      outputOffset: chosen.outputOffset,
      inputOffset: chosen.inputOffset,
      bits: chosen.bits,
      window: this.#pack(window, slot === undefined ? undefined : this.#machine.references(slot)),
    });
  }
}
