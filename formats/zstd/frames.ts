/**
 * Cuts a zstd stream into frame headers and blocks without decoding them. The decoder is fed through it: what is a stream
 * is judged here (the library takes truncated input for the end), and no more than a block of input is held.
 */
import {
  BLOCK_HEADER_SIZE,
  CHECKSUM_SIZE,
  FRAME_MAGIC,
  type FrameHeader,
  littleEndian,
  readBlockHeader,
  readFrameHeader,
  SKIPPABLE_MAGIC,
  zstdInvalid,
} from './layout.ts';

/** A piece of a frame: first its header, then its blocks. The bytes of all pieces are the frame. */
export type FrameUnit =
  | { readonly kind: 'header'; readonly bytes: Uint8Array; readonly header: FrameHeader }
  | { readonly kind: 'block'; readonly bytes: Uint8Array; readonly last: boolean };

/** The beginning of the pending bytes: a unit or other whole thing, or how many bytes that takes. */
type Found = { readonly size: number; readonly unit?: FrameUnit } | { readonly needed: number };

/** Takes a zstd stream in pieces of any size. */
export class FrameWalker {
  /** Copies of chunks that do not yet make up what is needed next. */
  #pending: Uint8Array[] = [];
  #pendingLength = 0;
  #needed = 0;
  /** Place of the first pending byte in the stream. */
  #at = 0;
  #frame: FrameHeader | undefined;
  #skip = 0;
  #frames = 0;

  /** The units that `chunk` completes. They may be views of it. Throws `zstd-invalid`. */
  *push(chunk: Uint8Array): Generator<FrameUnit> {
    if (this.#pendingLength + chunk.length < this.#needed) {
      this.#keep(chunk);
      return;
    }
    let rest = this.#pendingLength === 0 ? chunk : Buffer.concat([...this.#pending, chunk]);
    this.#pending = [];
    this.#pendingLength = 0;
    this.#needed = 0;
    for (;;) {
      const skipped = Math.min(this.#skip, rest.length);
      rest = rest.subarray(skipped);
      this.#skip -= skipped;
      this.#at += skipped;
      if (rest.length === 0) return;
      const found = this.#frame === undefined ? this.#start(rest) : this.#block(rest, this.#frame);
      if ('needed' in found) {
        this.#needed = found.needed;
        this.#keep(rest);
        return;
      }
      if (found.unit !== undefined) yield found.unit;
      rest = rest.subarray(found.size);
      this.#at += found.size;
    }
  }

  /** Ends the stream. Throws `zstd-invalid` unless it ends after a frame. */
  finish(): void {
    if (this.#frame !== undefined || this.#skip > 0 || this.#pendingLength > 0)
      throw zstdInvalid(
        'the zstd stream is cut short',
        this.#at + this.#pendingLength,
        'the rest of a frame',
        'the end',
      );
    if (this.#frames === 0) throw zstdInvalid('the zstd stream is empty', 0, 'a frame', 'nothing');
  }

  #keep(bytes: Uint8Array): void {
    this.#pending.push(bytes.slice());
    this.#pendingLength += bytes.length;
  }

  #start(rest: Uint8Array): Found {
    if (rest.length < 4) return { needed: 4 };
    const magic = littleEndian(rest, 0, 4);
    if ((magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC) {
      if (rest.length < 8) return { needed: 8 };
      this.#skip = littleEndian(rest, 4, 4);
      this.#frames++;
      return { size: 8 };
    }
    if (magic !== FRAME_MAGIC)
      throw zstdInvalid('there is no zstd frame', this.#at, FRAME_MAGIC.toString(16), magic.toString(16));
    const header = readFrameHeader(rest, this.#at);
    if (header === undefined) return { needed: rest.length + 1 };
    this.#frame = header;
    this.#frames++;
    return { size: header.size, unit: { kind: 'header', bytes: rest.subarray(0, header.size), header } };
  }

  #block(rest: Uint8Array, frame: FrameHeader): Found {
    if (rest.length < BLOCK_HEADER_SIZE) return { needed: BLOCK_HEADER_SIZE };
    const { last, size } = readBlockHeader(rest, frame, this.#at);
    const whole = BLOCK_HEADER_SIZE + size + (last && frame.checksum ? CHECKSUM_SIZE : 0);
    if (rest.length < whole) return { needed: whole };
    if (last) this.#frame = undefined;
    return { size: whole, unit: { kind: 'block', bytes: rest.subarray(0, whole), last } };
  }
}
