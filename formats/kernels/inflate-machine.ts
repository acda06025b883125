/** The contract of an inflate that can stop at block boundaries and be started at them: kernel and twin both keep it. */
import { AccelError } from '../../base/error.ts';

/** Bytes of output that a deflate match can reach back (RFC 1951 §2). */
export const WINDOW_BYTES = 32_768;
/** Bytes of output after which {@link InflateMachine.run} stops with `output`, give or take a match. */
export const OUTPUT_BYTES = 1 << 20;

/**
 * Why {@link InflateMachine.run} returned: `input` more input is needed; `output` the output is full and wants
 * {@link InflateMachine.release}; `boundary` a block ended that is not the last; `end` the last block ended.
 */
export type InflateStop = 'input' | 'output' | 'boundary' | 'end';

/** Where a stream can be taken up in its middle: behind a block. */
export interface InflateStart {
  /** Unused bits of the byte before the input, 0 to 7. */
  readonly bits: number;
  /** That byte; any value when `bits` is 0. */
  readonly byte: number;
  /** The {@link WINDOW_BYTES} bytes of output before this point. */
  readonly window: Uint8Array;
}

/** A raw deflate (RFC 1951) decoder, synchronous. Offsets are in bytes, from 0 where the machine was made or resumed. */
export interface InflateMachine {
  /** Input bytes consumed; a byte of which bits are left counts. */
  readonly inputOffset: number;
  /** Unused bits of the last byte consumed, 0 to 7. */
  readonly spareBits: number;
  /** Output bytes made. */
  readonly outputOffset: number;
  /** Input that was written and is not consumed: a view, valid until the next call. */
  readonly unread: Uint8Array;

  /** Takes input from byte `from` of `chunk` on; returns how many bytes found room, 0 only if it is full. */
  write(chunk: Uint8Array, from?: number): number;
  /** Drops `count` unread bytes: what is between streams. */
  skip(count: number): void;
  /** Starts a stream at the next unread byte, without history. `atBlocks`: stop at every block boundary. */
  begin(atBlocks: boolean): void;
  /** Drops everything and starts in the middle of a stream whose input is written next. */
  resume(start: InflateStart): void;
  /**
   * Decodes until there is a reason to stop. `final`: nothing follows what was written. Throws AccelError
   * `gzip-invalid` for a stream that zlib refuses, and for one that breaks off when `final`.
   */
  run(final: boolean): InflateStop;
  /** Output from offset `from` on (at most {@link WINDOW_BYTES} before the last release): a view, valid until the next call. */
  output(from: number): Uint8Array;
  /** Gives the output up but for the last {@link WINDOW_BYTES}. */
  release(): void;
  /** A copy of the {@link WINDOW_BYTES} bytes before output offset `at`, zeros before the stream's start. Same reach as output. */
  window(at: number): Uint8Array;
  /** From here on, logs which bytes of the window before this output offset are read. Two slots, 0 and 1. */
  watch(slot: number): void;
  /** The log of a slot: bit `i & 7` of byte `i >> 3` is that of byte `i` of the window. A view, valid until the next call. */
  references(slot: number): Uint8Array;
}

/** The faults of a deflate stream, after the cases of RFC 1951 §3.2. */
export const INFLATE_FAULTS = {
  blockType: 'a block of the reserved type 3',
  storedLength: 'a stored block whose length and its complement differ',
  symbolCount: 'a block with more than 286 length or 30 distance codes',
  precode: 'code lengths coded by an over-subscribed or incomplete code',
  repeat: 'a repeated code length with none before it or past the last',
  endOfBlock: 'a block without an end-of-block code',
  literalCode: 'an over-subscribed or incomplete literal/length code',
  distanceCode: 'an over-subscribed or incomplete distance code',
  lengthSymbol: 'bits that are no literal/length code',
  distanceSymbol: 'bits that are no distance code',
  tooFarBack: 'a match that starts before the output does',
  truncated: 'the stream breaks off',
} as const;

/** The error for a broken stream, at input byte `inputOffset`. */
export function inflateError(fault: keyof typeof INFLATE_FAULTS, inputOffset: number): AccelError {
  return new AccelError('gzip-invalid', 'the compressed data is damaged', {
    where: { 'compressed byte': inputOffset },
    expected: 'a valid deflate stream',
    found: INFLATE_FAULTS[fault],
    hint: 'fetch or build the layer again; gzip -t shows whether the source itself is damaged',
  });
}
