/** Holding the output of gzip members against the checksums of their trailers (RFC 1952 §2.3.1), wherever the output is. */
import { crc32 } from 'node:zlib';
import { AccelError } from '../../base/error.ts';

/** The end of a member. */
export interface GzipMemberEnd {
  /** Bytes of output up to the end of this member, those before it included. */
  readonly outputOffset: number;
  /** CRC-32 of the member's output, as its trailer has it. */
  readonly crc32: number;
  /** Where that trailer is in the file, in bytes. */
  readonly inputOffset: number;
}

/** Sums up output as it comes. An end is reported before or right after the output that reaches it. */
export class MemberChecks {
  #ends: GzipMemberEnd[] = [];
  #offset = 0;
  #crc = 0;

  /** Takes the next output; throws `gzip-invalid` for a member that ends there with another checksum. */
  update(bytes: Uint8Array): void {
    let from = 0;
    for (let end = this.#ends[0]; end !== undefined; end = this.#ends[0]) {
      const length = end.outputOffset - this.#offset;
      if (length > bytes.length - from) break;
      this.#sum(bytes.subarray(from, from + length));
      from += length;
      this.#check(end);
      this.#ends.shift();
    }
    this.#sum(bytes.subarray(from));
  }

  /** Notes where the next member ends; throws as {@link update} does if its output was all taken already. */
  end(member: GzipMemberEnd): void {
    if (this.#ends.length === 0 && member.outputOffset === this.#offset) this.#check(member);
    else this.#ends.push(member);
  }

  #sum(bytes: Uint8Array): void {
    this.#crc = crc32(bytes, this.#crc);
    this.#offset += bytes.length;
  }

  #check({ crc32: expected, inputOffset }: GzipMemberEnd): void {
    if (this.#crc !== expected) throw trailerMismatch('CRC-32', expected, this.#crc, inputOffset);
    this.#crc = 0;
  }
}

/** The error for a trailer, at byte `inputOffset` of the file, that does not fit the output. */
export function trailerMismatch(
  what: 'CRC-32' | 'length',
  expected: number,
  found: number,
  inputOffset: number,
): AccelError {
  return new AccelError('gzip-invalid', `the ${what} of the decompressed data is not what the gzip trailer says`, {
    where: { 'compressed byte': inputOffset },
    expected,
    found,
    hint: 'fetch or build the layer again; gzip -t shows whether the source itself is damaged',
  });
}
