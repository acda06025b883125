/** Reading a gzip member's header (RFC 1952 §2.3) from pieces of any size. */
import { crc32 } from 'node:zlib';
import { AccelError } from '../../base/error.ts';
import { GZIP_FLAG, GZIP_MAGIC, GZIP_METHOD_DEFLATE, gzipHeader } from './layout.ts';

type Part = 'fixed' | 'extraLength' | 'extra' | 'name' | 'comment' | 'headerCrc' | 'done';

/** Reads one header and keeps nothing of it: what an image's layer calls itself is of no use. */
export class GzipHeaderReader {
  #part: Part = 'fixed';
  #flags = 0;
  #crc = 0;
  /** Bytes of the extra field still to skip. */
  #extraLeft = 0;
  /** A field of fixed size that is not complete yet. */
  readonly #field = new Uint8Array(gzipHeader.size);
  #fieldLength = 0;
  readonly #start: number;

  /** `start`: the header's offset in the file, for messages. */
  constructor(start: number) {
    this.#start = start;
  }

  /** Whether the header is complete. */
  get done(): boolean {
    return this.#part === 'done';
  }

  /**
   * Takes bytes until the header is complete; returns how many. Throws AccelError `gzip-invalid` for what zlib
   * refuses: another magic or method, reserved flags, a header checksum that does not fit.
   */
  read(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#part !== 'done') {
      const from = at;
      const part = this.#part;
      at = this.#step(bytes, at);
      if (part !== 'headerCrc') this.#crc = crc32(bytes.subarray(from, at), this.#crc);
      this.#skipAbsent();
    }
    return at;
  }

  /** Reads as much of the current part as there is. */
  #step(bytes: Uint8Array, at: number): number {
    switch (this.#part) {
      case 'extra': {
        const taken = Math.min(this.#extraLeft, bytes.length - at);
        this.#extraLeft -= taken;
        if (this.#extraLeft === 0) this.#part = 'name';
        return at + taken;
      }
      case 'name':
      case 'comment': {
        const end = bytes.indexOf(0, at);
        if (end < 0) return bytes.length;
        this.#part = this.#part === 'name' ? 'comment' : 'headerCrc';
        return end + 1;
      }
      default: {
        const size = this.#part === 'fixed' ? gzipHeader.size : 2;
        const taken = Math.min(size - this.#fieldLength, bytes.length - at);
        this.#field.set(bytes.subarray(at, at + taken), this.#fieldLength);
        this.#fieldLength += taken;
        // Known from its first bytes that it is no gzip: then say so, not that it breaks off.
        if (this.#part === 'fixed' && this.#fieldLength >= 2) this.#checkMagic();
        if (this.#fieldLength === size) this.#finishField();
        return at + taken;
      }
    }
  }

  #finishField(): void {
    const field = this.#field;
    this.#fieldLength = 0;
    const word = field[0]! | (field[1]! << 8);
    if (this.#part === 'fixed') {
      const header = gzipHeader.read(field);
      if (header.method !== GZIP_METHOD_DEFLATE)
        throw this.#invalid('an unknown compression method', GZIP_METHOD_DEFLATE, header.method);
      if (header.flags & GZIP_FLAG.reserved) throw this.#invalid('reserved flags', 0, header.flags);
      this.#flags = header.flags;
      this.#part = 'extraLength';
    } else if (this.#part === 'extraLength') {
      this.#extraLeft = word;
      this.#part = word === 0 ? 'name' : 'extra';
    } else {
      if (word !== (this.#crc & 0xffff)) throw this.#invalid('a wrong checksum', this.#crc & 0xffff, word);
      this.#part = 'done';
    }
  }

  /** Goes on to the next part that the flags announce. */
  #skipAbsent(): void {
    if (this.#part === 'extraLength' && !(this.#flags & GZIP_FLAG.extra)) this.#part = 'name';
    if (this.#part === 'name' && !(this.#flags & GZIP_FLAG.name)) this.#part = 'comment';
    if (this.#part === 'comment' && !(this.#flags & GZIP_FLAG.comment)) this.#part = 'headerCrc';
    if (this.#part === 'headerCrc' && !(this.#flags & GZIP_FLAG.headerCrc)) this.#part = 'done';
  }

  #checkMagic(): void {
    const magic = this.#field[0]! | (this.#field[1]! << 8);
    if (magic !== GZIP_MAGIC)
      throw this.#invalid('a magic that is not gzip’s', '1f 8b', hex(this.#field.subarray(0, 2)));
  }

  #invalid(what: string, expected: string | number, found: string | number): AccelError {
    return new AccelError('gzip-invalid', `a gzip header has ${what}`, {
      where: { 'compressed byte': this.#start },
      expected,
      found,
      hint: 'fetch or build the layer again; gzip -t shows whether the source itself is damaged',
    });
  }
}

/** Bytes as `1f 8b`. */
export function hex(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
