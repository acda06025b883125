/**
 * Hashes of file content. A sparse file may be terabytes of nothing (a `lastlog` with one large uid is), so its hash
 * leaves the zeros out, by a rule that both sides of a comparison follow.
 */
import { createHash } from 'node:crypto';

/** The bytes of a file that its hash covers. */
export type HashRule =
  /** SHA-256 of all bytes, as sha256sum gives it. */
  | 'sha256'
  /**
   * SHA-256 of the 4 KiB blocks that are not all zero, each behind its position; the last block filled up with zeros.
   */
  | 'sha256-of-blocks';

/** A hash and how it came about: two are comparable only when the rules are the same. */
export interface ContentHash {
  readonly rule: HashRule;
  /** In lower-case hex. */
  readonly hex: string;
}

/** Takes the bytes of one file in ascending order. */
export interface ContentHasher {
  /** The bytes from `offset` of the file on. By the rule `sha256` they follow each other without a gap. */
  update(offset: number, bytes: Uint8Array): void;
  finish(): ContentHash;
}

/** Bytes of a block of the rule `sha256-of-blocks`. */
const BLOCK = 4096;
const ZEROS = Buffer.alloc(BLOCK);
const POSITION_SIZE = 8;

/** A hasher for one file. */
export function contentHasher(rule: HashRule): ContentHasher {
  return rule === 'sha256' ? new WholeHasher() : new BlockHasher();
}

class WholeHasher implements ContentHasher {
  readonly #hash = createHash('sha256');

  update(_offset: number, bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  finish(): ContentHash {
    return { rule: 'sha256', hex: this.#hash.digest('hex') };
  }
}

class BlockHasher implements ContentHasher {
  readonly #hash = createHash('sha256');
  /** The position of the block being gathered, and its bytes. */
  readonly #record = Buffer.alloc(POSITION_SIZE + BLOCK);
  readonly #block = this.#record.subarray(POSITION_SIZE);
  #current = -1;

  update(offset: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const position = Math.floor((offset + at) / BLOCK);
      if (position !== this.#current) this.#begin(position);
      const inBlock = offset + at - position * BLOCK;
      const length = Math.min(BLOCK - inBlock, bytes.length - at);
      this.#block.set(bytes.subarray(at, at + length), inBlock);
      at += length;
    }
  }

  finish(): ContentHash {
    this.#begin(-1);
    return { rule: 'sha256-of-blocks', hex: this.#hash.digest('hex') };
  }

  /** Hashes the block that was gathered, and starts on another. */
  #begin(position: number): void {
    if (this.#current >= 0 && !this.#block.equals(ZEROS)) {
      this.#record.writeBigUInt64LE(BigInt(this.#current), 0);
      this.#hash.update(this.#record);
    }
    this.#block.fill(0);
    this.#current = position;
  }
}
