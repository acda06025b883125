/** Random access to what a ZFile holds; every byte that is answered has passed its checksum (docs/formats.md §2). */
import type { ReadAt } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { CRC32C_BLOCK_SALT, crc32c } from '../checksum/crc32c.ts';
import { lz4DecompressBlock } from '../kernels/lz4.ts';
import { loadZstdDecompressor } from '../zstd/block.ts';
import { BlockOffsets } from './block-offsets.ts';
import {
  BLOCK_CHECKSUM_SIZE,
  decodeZFileHeader,
  FLAG_OVERWRITTEN,
  INDEX_ENTRY_SIZE,
  ZFILE_SPACE,
  type ZFileAlgorithm,
  type ZFileHeader,
} from './layout.ts';

/** A range of bytes of the ZFile. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** Compressed bytes read at a time; a single block is shorter. */
const READ_PIECE = 1 << 20;

/** Options for opening a ZFile. */
export interface ZFileOpenOptions {
  /**
   * `whole` (the default) reads and checks the index before anything else. `needed` reads the parts of it that are
   * asked for: then every use of a block's place needs {@link ZFileReader.locate} first.
   */
  readonly index?: 'whole' | 'needed';
}

/** An open ZFile. Holds the index (8 bytes a block), no data. */
export class ZFileReader {
  /** Bytes that the ZFile holds, decompressed. */
  readonly size: number;
  /** Bytes of a block, decompressed. */
  readonly blockSize: number;
  readonly algorithm: ZFileAlgorithm;
  /** Byte of the ZFile where its index begins: the compressed blocks end there. */
  readonly indexOffset: number;
  readonly #read: ReadAt;
  readonly #offsets: BlockOffsets;
  /** Decompresses a block into its place; answers the bytes written. */
  readonly #decode: (block: Uint8Array, target: Uint8Array) => number;

  private constructor(
    read: ReadAt,
    header: ZFileHeader,
    offsets: BlockOffsets,
    decode: (block: Uint8Array, target: Uint8Array) => number,
  ) {
    this.size = header.originalFileSize;
    this.blockSize = header.blockSize;
    this.algorithm = header.algorithm;
    this.indexOffset = header.indexOffset;
    this.#read = read;
    this.#offsets = offsets;
    this.#decode = decode;
  }

  /**
   * Opens the ZFile of `size` bytes that `read` answers: checks header, trailer and index, each against its checksum
   * and against the others. Throws `zfile-invalid`.
   */
  static async open(read: ReadAt, size: number, options: ZFileOpenOptions = {}): Promise<ZFileReader> {
    if (size < 2 * ZFILE_SPACE) throw invalid('the ZFile is too short', { fileSize: size }, 2 * ZFILE_SPACE, size);
    const exact = exactly(read);
    const header = decodeZFileHeader(await exact(0, ZFILE_SPACE), 'header');
    const trailerSpace = await exact(size - ZFILE_SPACE, ZFILE_SPACE);
    const trailer = decodeZFileHeader(trailerSpace, 'trailer');
    if ((header.flags & FLAG_OVERWRITTEN) !== 0) sameFields(header, trailer);
    checkPlaces(trailer, size);
    const offsets = new BlockOffsets(exact, trailer);
    if (options.index !== 'needed') await offsets.locate(0, offsets.count);
    const decode = trailer.algorithm === 'lz4' ? lz4DecompressBlock : await loadZstdDecompressor();
    return new ZFileReader(exact, trailer, offsets, decode);
  }

  /** Number of blocks. */
  get blockCount(): number {
    return this.#offsets.count;
  }

  /** Makes the places of the blocks `first` to `last` (exclusive) known. Throws `zfile-invalid`. */
  locate(first: number, last: number): Promise<void> {
    return this.#offsets.locate(first, last);
  }

  /** The block up to which (exclusive) all places from block `i` on are known without another read. */
  locatedFrom(i: number): number {
    return this.#offsets.knownFrom(i);
  }

  /** Where compressed block `i` lies in the ZFile, its checksum included. */
  blockRange(i: number): ByteRange {
    if (!(Number.isInteger(i) && i >= 0 && i < this.blockCount))
      throw new AccelError('usage', 'no such block in the ZFile', { expected: `below ${this.blockCount}`, found: i });
    const offset = this.#offsets.at(i);
    return { offset, length: this.#offsets.at(i + 1) - offset };
  }

  /** Where the compressed blocks lie that `length` bytes from `offset` on need. */
  compressedRange(offset: number, length: number): ByteRange {
    const [first, last] = this.#blocksOf(offset, length);
    const start = this.#offsets.at(first);
    return { offset: start, length: this.#offsets.at(last) - start };
  }

  /** Exactly `length` decompressed bytes from `offset` on. Throws `zfile-invalid`, and `usage` past the end. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    const [first, last] = this.#blocksOf(offset, length);
    await this.#offsets.locate(first, last);
    for (let from = first; from < last; ) {
      const to = this.#pieceEnd(from, last);
      const start = this.#offsets.at(from);
      const compressed = await this.#read(start, this.#offsets.at(to) - start);
      for (let i = from; i < to; i++) {
        const block = compressed.subarray(this.#offsets.at(i) - start, this.#offsets.at(i + 1) - start);
        this.#copyBlock(i, block, offset, out);
      }
      from = to;
    }
    return out;
  }

  /** Checksum and content of block `i` from its `compressed` bytes, checksum included. */
  decompressBlock(i: number, compressed: Uint8Array): Uint8Array {
    const out = new Uint8Array(this.#blockLength(i));
    this.#decompress(i, compressed, out);
    return out;
  }

  /** Decompresses block `i` to its place in `out`, which holds the bytes from `offset` on. */
  #copyBlock(i: number, compressed: Uint8Array, offset: number, out: Uint8Array): void {
    const length = this.#blockLength(i);
    const at = i * this.blockSize - offset;
    if (at >= 0 && at + length <= out.length) {
      this.#decompress(i, compressed, out.subarray(at, at + length));
      return;
    }
    const whole = this.decompressBlock(i, compressed);
    const skip = Math.max(0, -at);
    out.set(whole.subarray(skip, Math.min(length, out.length - at)), Math.max(0, at));
  }

  #decompress(i: number, compressed: Uint8Array, target: Uint8Array): void {
    const where = { block: i, offset: this.#offsets.at(i) };
    const end = compressed.length - BLOCK_CHECKSUM_SIZE;
    const block = compressed.subarray(0, end);
    const stored = viewOf(compressed).getUint32(end, true);
    const computed = crc32c(block, CRC32C_BLOCK_SALT);
    if (stored !== computed)
      throw invalid('a block of the ZFile does not match its checksum', where, hex32(stored), hex32(computed));
    const written = this.#decode(block, target);
    if (written !== target.length)
      throw invalid('a block of the ZFile holds too few bytes', where, target.length, written);
  }

  #blockLength(i: number): number {
    return Math.min(this.blockSize, this.size - i * this.blockSize);
  }

  /** Numbers of the first block of a range and of the one behind its last. */
  #blocksOf(offset: number, length: number): [number, number] {
    if (!(Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= this.size))
      throw new AccelError('usage', 'a read past the end of the ZFile', {
        where: { offset, length },
        expected: `at most ${this.size}`,
        found: offset + length,
      });
    const first = Math.floor(offset / this.blockSize);
    return [first, length === 0 ? first : Math.ceil((offset + length) / this.blockSize)];
  }

  /** As many blocks from `from` on as fit a piece, at least one. */
  #pieceEnd(from: number, last: number): number {
    let to = from + 1;
    while (to < last && this.#offsets.at(to + 1) - this.#offsets.at(from) <= READ_PIECE) to++;
    return to;
  }
}

function sameFields(header: ZFileHeader, trailer: ZFileHeader): void {
  for (const key of ['indexOffset', 'indexSize', 'originalFileSize', 'indexCrc', 'blockSize', 'algorithm'] as const)
    if (header[key] !== trailer[key])
      throw invalid('header and trailer of the ZFile differ', { field: key }, trailer[key], header[key]);
}

function checkPlaces(header: ZFileHeader, size: number): void {
  const { indexOffset, indexSize, originalFileSize, blockSize } = header;
  const where = { part: 'trailer' };
  const blocks = Math.ceil(originalFileSize / blockSize);
  if (indexSize !== blocks) throw invalid('the ZFile index has the wrong number of blocks', where, blocks, indexSize);
  const wanted = size - ZFILE_SPACE - indexSize * INDEX_ENTRY_SIZE;
  if (indexOffset !== wanted || indexOffset < ZFILE_SPACE)
    throw invalid('the ZFile index does not lie between blocks and trailer', where, wanted, indexOffset);
}

/** Holds `read` to its contract, so that a short answer is never taken for data. */
function exactly(read: ReadAt): ReadAt {
  return async (offset, length) => {
    const bytes = await read(offset, length);
    if (bytes.length !== length)
      throw invalid('the ZFile is cut short', { offset }, `${length} bytes`, `${bytes.length} bytes`);
    return bytes;
  };
}

function invalid(
  message: string,
  where: Record<string, string | number>,
  expected: string | number,
  found: string | number,
): AccelError {
  return new AccelError('zfile-invalid', message, { where, expected, found });
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}
