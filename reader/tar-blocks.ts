/** The uncompressed tar of a source layer as blocks: of a blob that is a tar, and of one that is gzip with an index. */
import type { ReadAt } from '../base/byte-source.ts';
import { AccelError } from '../base/error.ts';
import type { SeekIndex } from '../formats/gzip/points.ts';
import { type FetchCompressed, GzipIndexReader } from '../formats/gzip/reader.ts';
import type { BlockBackend } from './block-store.ts';

/** Bytes of a block of a plain tar. */
const PLAIN_BLOCK = 65_536;
/** Bytes of a block of a gzip layer; the last one of a span is what is left, less than two of them. */
const GZIP_BLOCK = 1 << 16;
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

  entryTo(i: number): number {
    return i;
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

/**
 * A gzip blob with an index. Decompression starts at an access point; what lies between two of them, a span, is several
 * blocks, so that a read fetches the span up to its own end and not to the next point.
 */
export class GzipTarBlocks implements BlockBackend {
  readonly count: number;
  readonly #reader: GzipIndexReader;
  readonly #fetch: FetchCompressed;
  readonly #size: number;
  /** First byte of each span in the tar and, at the end, the tar's size. */
  readonly #starts: Float64Array;
  /** Compressed byte of each span, and the size of the blob. */
  readonly #inputs: Float64Array;
  /** Number of each span's first block, and the number of blocks. */
  readonly #blocks: Float64Array;
  /** The load under way that begins or ends in a span: the next one that begins there goes on where it ends. */
  readonly #loads = new Map<number, Promise<unknown>>();

  /** Throws `limit-exceeded` for a tar of more than 4 TiB. */
  constructor(index: SeekIndex, read: ReadAt) {
    const { uncompressedSize, compressedSize } = index;
    if (uncompressedSize > MAX_TAR)
      throw new AccelError('limit-exceeded', 'the source layer is larger than accel reads', {
        expected: MAX_TAR,
        found: uncompressedSize,
      });
    this.#reader = new GzipIndexReader(index);
    this.#fetch = (from, to) => read(from, to - from);
    this.#size = uncompressedSize;
    // Points with nothing between them and the next one are no spans.
    const spans = index.points.filter(
      ({ outputOffset }, i) => outputOffset < (index.points[i + 1]?.outputOffset ?? uncompressedSize),
    );
    this.#starts = Float64Array.from([...spans.map(({ outputOffset }) => outputOffset), uncompressedSize]);
    this.#inputs = Float64Array.from([...spans.map(({ inputOffset }) => inputOffset), compressedSize]);
    this.#blocks = new Float64Array(spans.length + 1);
    for (let span = 0; span < spans.length; span++) {
      const length = this.#starts[span + 1]! - this.#starts[span]!;
      this.#blocks[span + 1] = this.#blocks[span]! + Math.max(1, Math.floor(length / GZIP_BLOCK));
    }
    this.count = this.#blocks[spans.length]!;
  }

  blockAt(offset: number): number {
    const span = lastUpTo(this.#starts, offset);
    const within = Math.floor((offset - this.#starts[span]!) / GZIP_BLOCK);
    return Math.min(this.#blocks[span]! + within, this.#blocks[span + 1]! - 1);
  }

  startOf(i: number): number {
    if (i >= this.count) return this.#size;
    const span = lastUpTo(this.#blocks, i);
    return this.#starts[span]! + (i - this.#blocks[span]!) * GZIP_BLOCK;
  }

  async locate(): Promise<void> {
    return;
  }

  locatedFrom(): number {
    return this.count;
  }

  entryTo(i: number): number {
    return this.#blocks[lastUpTo(this.#blocks, i)]!;
  }

  fetchedSize(first: number, last: number): number {
    return this.#inputAt(last) - this.#inputAt(first);
  }

  async load(first: number, last: number): Promise<Uint8Array[]> {
    const spans = new Set([lastUpTo(this.#blocks, first), lastUpTo(this.#blocks, last - 1)]);
    const [span] = spans;
    const before = this.#loads.get(span!);
    const loaded = before === undefined ? this.#load(first, last) : before.then(() => this.#load(first, last));
    const settled = loaded.then(
      () => undefined,
      () => undefined,
    );
    for (const one of spans) this.#loads.set(one, settled);
    try {
      return await loaded;
    } finally {
      for (const one of spans) if (this.#loads.get(one) === settled) this.#loads.delete(one);
    }
  }

  async #load(first: number, last: number): Promise<Uint8Array[]> {
    const start = this.startOf(first);
    const length = this.startOf(last) - start;
    const bytes = await this.#reader.readAt(start, length, this.#fetch);
    if (bytes.length !== length)
      throw new AccelError('turbo-invalid', 'the gzip stream ends before its index says', {
        where: { 'output byte': start },
        expected: length,
        found: bytes.length,
      });
    if (last - first === 1) return [bytes];
    const blocks: Uint8Array[] = [];
    for (let i = first; i < last; i++) blocks.push(bytes.slice(this.startOf(i) - start, this.startOf(i + 1) - start));
    return blocks;
  }

  /** About where block `i` begins in the blob: exactly for the first one of a span. */
  #inputAt(i: number): number {
    if (i >= this.count) return this.#inputs.at(-1)!;
    const span = lastUpTo(this.#blocks, i);
    const share = (i - this.#blocks[span]!) / (this.#blocks[span + 1]! - this.#blocks[span]!);
    return this.#inputs[span]! + Math.floor((this.#inputs[span + 1]! - this.#inputs[span]!) * share);
  }
}

/** Place of the last of ascending `values`, without the very last, that is at most `value`; 0 without one. */
function lastUpTo(values: Float64Array, value: number): number {
  let low = 0;
  let high = Math.max(1, values.length - 1);
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (values[middle]! <= value) low = middle;
    else high = middle;
  }
  return low;
}
