/** Writing gzip whose bytes depend on nothing but its content: node:zlib's change with its version and the platform. */
import { crc32 } from 'node:zlib';
import { threadDeflater } from '../kernels/deflate.ts';
import { gzipTrailer, STORED_BLOCK, STORED_HEADER } from './layout.ts';

/** A part of what is packed. */
export interface GzipPart {
  readonly bytes: Uint8Array;
  /** Whether it does not shrink: it is stored as it is, at the speed of a copy. */
  readonly isPacked: boolean;
}

/**
 * Deflates a part so that others can follow: the bytes of {@link deflatePart}, made here or in another thread. The part
 * stays as it is until it resolves.
 */
export type PartDeflater = (bytes: Uint8Array) => Promise<readonly Uint8Array[]>;

/** A part as blocks of deflate, none of them the last, that end at a whole byte. */
export function deflatePart(bytes: Uint8Array): Uint8Array[] {
  return threadDeflater().blocks(bytes);
}

/** A member's header without time and name, by Unix (RFC 1952 §2.3). */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3);

/** One gzip member that is written part by part; holds a part at a time. The same on every platform and Node version. */
export class GzipEncoder {
  #crc = 0;
  #size = 0;

  /** The bytes before the first part. */
  get header(): Uint8Array {
    return HEADER;
  }

  /** The bytes of the next part. */
  part({ bytes, isPacked }: GzipPart): Uint8Array[] {
    this.#crc = crc32(bytes, this.#crc);
    this.#size += bytes.length;
    return isPacked ? storedBlocks(bytes) : deflatePart(bytes);
  }

  /** As {@link part} of what is packed already, for bytes in pieces. A block is valid until the next is asked for. */
  *store(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
    const block = new Uint8Array(STORED_HEADER + STORED_BLOCK);
    let filled = 0;
    for (const piece of pieces) {
      this.#crc = crc32(piece, this.#crc);
      this.#size += piece.length;
      for (let from = 0; from < piece.length; ) {
        const part = piece.subarray(from, from + STORED_BLOCK - filled);
        block.set(part, STORED_HEADER + filled);
        filled += part.length;
        from += part.length;
        if (filled < STORED_BLOCK) continue;
        yield closedBlock(block, filled);
        filled = 0;
      }
    }
    if (filled > 0) yield closedBlock(block, filled);
  }

  /** As {@link part} for one that shrinks, deflated elsewhere. */
  partBy(deflate: PartDeflater, bytes: Uint8Array): Promise<readonly Uint8Array[]> {
    this.#crc = crc32(bytes, this.#crc);
    this.#size += bytes.length;
    return deflate(bytes);
  }

  /** The bytes after the last part. */
  end(): Uint8Array[] {
    const trailer = new Uint8Array(gzipTrailer.size);
    gzipTrailer.write(trailer, 0, { crc32: this.#crc, isize: this.#size % 0x1_0000_0000 });
    return [EMPTY_LAST, trailer];
  }
}

/** The parts, one after another, as one gzip member: the bytes of a {@link GzipEncoder}, for what fits into memory. */
export function gzipDeterministic(parts: readonly GzipPart[]): Uint8Array {
  const encoder = new GzipEncoder();
  return Buffer.concat([encoder.header, ...parts.flatMap((part) => encoder.part(part)), ...encoder.end()]);
}

/** An empty stored block that is the last (RFC 1951 §3.2.4). */
const EMPTY_LAST = Uint8Array.of(1, 0, 0, 0xff, 0xff);

/** A stored block of `length` bytes, after the room for its header. */
function closedBlock(block: Uint8Array, length: number): Uint8Array {
  block.set(storedHeader(length));
  return block.subarray(0, STORED_HEADER + length);
}

function storedHeader(length: number): Uint8Array {
  return Uint8Array.of(0, length & 0xff, length >>> 8, ~length & 0xff, (~length >>> 8) & 0xff);
}

/** Stored blocks, none of them the last; they start at a whole byte. */
function storedBlocks(bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let from = 0; from < bytes.length; from += STORED_BLOCK) {
    const block = bytes.subarray(from, from + STORED_BLOCK);
    pieces.push(storedHeader(block.length), block);
  }
  return pieces;
}
