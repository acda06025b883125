/** The uncompressed tar of a source layer as blocks: of a blob that is a tar, and of one that is gzip with an index. */
import type { ReadAt } from '../base/byte-source.ts';
import { AccelError } from '../base/error.ts';
import type { GzipIndex } from '../formats/gzip/points.ts';
import { type FetchCompressed, GzipIndexReader } from '../formats/gzip/reader.ts';
import type { BlockBackend } from './block-store.ts';

/** Bytes of a block of a plain tar. */
const PLAIN_BLOCK = 65_536;
/** Bytes of a block of a gzip layer, unless the access points are nearer to each other. */
const GZIP_BLOCK = 1 << 20;
/** A span's last deflate block may reach over; up to here it is not cut into a second block. */
const GZIP_BLOCK_MOST = 2 * GZIP_BLOCK;
/** Uncompressed bytes of a layer: 4 TiB, so that a hostile index cannot ask for a table without end. */
const MAX_TAR = 2 ** 42;

/** A blob that is the tar itself. */
export class PlainTarBlocks implements BlockBackend {
  readonly #size: number;
  readonly #read: ReadAt;

  constructor(size: number, read: ReadAt) {
    this.#size = size;
    this.#read = read;
  }

  get count(): number {
    return Math.ceil(this.#size / PLAIN_BLOCK);
  }

  blockAt(offset: number): number {
    return Math.floor(offset / PLAIN_BLOCK);
  }

  startOf(i: number): number {
    return Math.min(i * PLAIN_BLOCK, this.#size);
  }

  async locate(): Promise<void> {
    return;
  }

  locatedFrom(): number {
    return this.count;
  }

  fetchedSize(first: number, last: number): number {
    return this.startOf(last) - this.startOf(first);
  }

  async load(first: number, last: number): Promise<Uint8Array[]> {
    const start = this.startOf(first);
    const bytes = await this.#read(start, this.startOf(last) - start);
    const blocks: Uint8Array[] = [];
    // Copies: a view would keep all of the answer in memory as long as one block of it is in the cache.
    for (let i = first; i < last; i++) blocks.push(bytes.slice(this.startOf(i) - start, this.startOf(i + 1) - start));
    return blocks;
  }
}

/** A gzip blob with an index: the blocks begin at its access points. */
export class GzipTarBlocks implements BlockBackend {
  readonly #reader: GzipIndexReader;
  readonly #fetch: FetchCompressed;
  /** First byte of each block, and behind the last one the size. */
  readonly #starts: Float64Array;
  /** Compressed byte where each block's fetch begins, and the size of the blob. */
  readonly #inputs: Float64Array;

  /** Throws `limit-exceeded` for a tar of more than 4 TiB. */
  constructor(index: GzipIndex, read: ReadAt) {
    if (index.uncompressedSize > MAX_TAR)
      throw new AccelError('limit-exceeded', 'the source layer is larger than accel reads', {
        expected: MAX_TAR,
        found: index.uncompressedSize,
      });
    this.#reader = new GzipIndexReader(index);
    this.#fetch = (from, to) => read(from, to - from);
    const starts: number[] = [];
    const inputs: number[] = [];
    index.points.forEach(({ outputOffset, inputOffset }, i) => {
      const end = index.points[i + 1]?.outputOffset ?? index.uncompressedSize;
      for (let at = outputOffset; at < end; at += GZIP_BLOCK) {
        starts.push(at);
        inputs.push(inputOffset);
        if (end - at <= GZIP_BLOCK_MOST) break;
      }
    });
    this.#starts = Float64Array.from([...starts, index.uncompressedSize]);
    this.#inputs = Float64Array.from([...inputs, index.compressedSize]);
  }

  get count(): number {
    return this.#starts.length - 1;
  }

  blockAt(offset: number): number {
    let low = 0;
    let high = this.count;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return low;
  }

  startOf(i: number): number {
    return this.#starts[i]!;
  }

  async locate(): Promise<void> {
    return;
  }

  locatedFrom(): number {
    return this.count;
  }

  fetchedSize(first: number, last: number): number {
    return this.#inputs[last]! - this.#inputs[first]!;
  }

  async load(first: number, last: number): Promise<Uint8Array[]> {
    const blocks: Uint8Array[] = [];
    for (let i = first; i < last; i++) {
      const start = this.startOf(i);
      const length = this.startOf(i + 1) - start;
      const block = await this.#reader.readAt(start, length, this.#fetch);
      if (block.length !== length)
        throw new AccelError('turbo-invalid', 'the gzip stream ends before its index says', {
          where: { 'output byte': start },
          expected: length,
          found: block.length,
        });
      blocks.push(block);
    }
    return blocks;
  }
}
