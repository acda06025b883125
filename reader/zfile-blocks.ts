/** The blocks of a ZFile as a {@link BlockBackend}: every block passes its checksum before anyone sees it. */
import type { ReadAt } from '../base/byte-source.ts';
import type { ZFileReader } from '../formats/zfile/reader.ts';
import type { BlockBackend } from './block-store.ts';

/** A ZFile in a blob, some parts of which may be in memory. */
export interface ZFileParts {
  /** Reads what the ZFile was opened on. */
  readonly read: ReadAt;
  /** Whether so many bytes of the ZFile from an offset on are in memory. */
  readonly holds?: (offset: number, length: number) => boolean;
  /** See {@link BlockBackend.front}. */
  readonly front?: BlockBackend['front'];
}

/** See the module's comment. */
export class ZFileBlocks implements BlockBackend {
  readonly #zfile: ZFileReader;
  readonly #parts: ZFileParts;

  constructor(zfile: ZFileReader, parts: ZFileParts) {
    this.#zfile = zfile;
    this.#parts = parts;
  }

  get front(): BlockBackend['front'] {
    return this.#parts.front;
  }

  get count(): number {
    return this.#zfile.blockCount;
  }

  blockAt(offset: number): number {
    return Math.floor(offset / this.#zfile.blockSize);
  }

  startOf(i: number): number {
    return Math.min(i * this.#zfile.blockSize, this.#zfile.size);
  }

  locate(first: number, last: number): Promise<void> {
    return this.#zfile.locate(first, last);
  }

  locatedFrom(i: number): number {
    return this.#zfile.locatedFrom(i);
  }

  entryTo(i: number): number {
    return i;
  }

  fetchedSize(first: number, last: number): number {
    if (last <= first) return 0;
    const end = this.#zfile.blockRange(last - 1);
    return end.offset + end.length - this.#zfile.blockRange(first).offset;
  }

  holds(first: number, last: number): boolean {
    return this.#parts.holds?.(this.#zfile.blockRange(first).offset, this.fetchedSize(first, last)) === true;
  }

  async load(first: number, last: number): Promise<Uint8Array[]> {
    const start = this.#zfile.blockRange(first).offset;
    const compressed = await this.#parts.read(start, this.fetchedSize(first, last));
    const blocks: Uint8Array[] = [];
    for (let i = first; i < last; i++) {
      const { offset, length } = this.#zfile.blockRange(i);
      blocks.push(this.#zfile.decompressBlock(i, compressed.subarray(offset - start, offset - start + length)));
    }
    return blocks;
  }
}
