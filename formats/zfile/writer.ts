/** Writes a ZFile from a stream of bytes, batch by batch (docs/formats.md §2). */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { crc32c } from '../checksum/crc32c.ts';
import {
  encodeZFileHeader,
  FLAG_DATA_FILE,
  FLAG_DIGEST,
  FLAG_HEADER,
  FLAG_OVERWRITTEN,
  FLAG_SEALED,
  INDEX_ENTRY_SIZE,
  isBlockSize,
  LengthRules,
  ZFILE_SPACE,
  type ZFileAlgorithm,
  type ZFileHeader,
} from './layout.ts';

/** The compressed blocks of a batch, one after another, each followed by its 4-byte checksum; views of the batch's memory. */
export interface CompressedBatch {
  readonly bytes: Uint8Array;
  /** Bytes of each block including its checksum. */
  readonly lengths: Uint32Array;
}

/** Memory for a number of blocks, from being filled to being written. */
export interface Batch {
  /** To be filled from the start; 1 MiB. */
  readonly input: Uint8Array;
  /** Cuts the first `length` bytes of the input into blocks (the last one may be short) and compresses each; once. */
  compress(length: number): Promise<CompressedBatch>;
  /** Ends the use of this memory by whoever took it. */
  release(): void;
}

/** Where batches are compressed: in the calling thread, or in workers. */
export interface BlockCompressor {
  /** Memory for a batch. */
  take(): Batch;
}

/** Options of a ZFile, and the sink for its bytes. */
export interface ZFileWriterOptions {
  readonly algorithm: ZFileAlgorithm;
  /** Bytes of a block: a power of two, 4096 to 65536. */
  readonly blockSize: number;
  readonly compressor: BlockCompressor;
  /** Bytes given to the compressor at a time, a multiple of the block size. Default, and the most: 1 MiB. */
  readonly batchSize?: number;
  /** Batches that may be with the compressor or wait to be written. Default: 4. */
  readonly maxInFlight?: number;
  /** Takes the file's bytes in their order, the next only when it has resolved; until then they are valid. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

/** Facts about a finished ZFile. */
export interface FinishedZFile {
  /** The 512 bytes to overwrite the file's first 512 with, so that a node need not read the trailer. */
  readonly header: Uint8Array;
  /** Bytes of the whole ZFile. */
  readonly size: number;
  /** Bytes that went in. */
  readonly originalSize: number;
}

const DEFAULT_BATCH = 1 << 20;
const DEFAULT_IN_FLIGHT = 4;
const WORD = 8;
const ZEROS = new Uint8Array(4096 + WORD);
/** Index bytes encoded at a time. */
const INDEX_PIECE = 1 << 18;

/**
 * One ZFile being written. {@link ZFileWriter.write} only copies; compressing and writing go on in the background, in order.
 * Await {@link ZFileWriter.drain} between chunks: then at most `maxInFlight` + 1 batches are held, plus what a single
 * chunk is longer than a batch.
 */
export class ZFileWriter {
  readonly #options: ZFileWriterOptions;
  readonly #batchSize: number;
  readonly #maxInFlight: number;
  readonly #rules: LengthRules;
  readonly #lengths = new LengthList();
  #current: Batch | undefined;
  #filled = 0;
  #inFlight = 0;
  /** Resolves when everything given so far is written, or the writer has failed; never rejects. */
  #tail: Promise<void>;
  /** Callers of {@link ZFileWriter.drain} that wait. */
  #waiting: (() => void)[] = [];
  #failure: { readonly error: unknown } | undefined;
  #position = ZFILE_SPACE;
  #originalSize = 0;
  #finished = false;

  /** Starts the file with a header that sends a reader to the trailer. */
  constructor(options: ZFileWriterOptions) {
    const { blockSize } = options;
    this.#options = options;
    this.#batchSize = options.batchSize ?? DEFAULT_BATCH;
    this.#maxInFlight = options.maxInFlight ?? DEFAULT_IN_FLIGHT;
    if (!isBlockSize(blockSize))
      throw new AccelError('usage', 'the block size is no power of two from 4096 to 65536', { found: blockSize });
    if (this.#batchSize <= 0 || this.#batchSize > DEFAULT_BATCH || this.#batchSize % blockSize !== 0)
      throw new AccelError('usage', 'the batch size is no multiple of the block size up to 1 MiB', {
        found: this.#batchSize,
      });
    this.#rules = new LengthRules(blockSize, 'limit-exceeded');
    this.#tail = this.#guard(() => options.write(this.#header(FLAG_HEADER, 0, 0)));
  }

  /** Whether the caller should await {@link ZFileWriter.drain} before it goes on. */
  get saturated(): boolean {
    return this.#inFlight >= this.#maxInFlight;
  }

  /** Bytes taken so far. */
  get originalSize(): number {
    return this.#originalSize;
  }

  /**
   * Copies `bytes`, followed by `zeros` zero bytes, into the stream. Throws what the compressor or the output failed with, as
   * soon as it is known.
   */
  write(bytes: Uint8Array, zeros = 0): void {
    if (this.#finished) throw new AccelError('internal', 'a finished ZFile was written to');
    this.#throwFailure();
    this.#originalSize += bytes.length + zeros;
    for (let from = 0; from < bytes.length; ) {
      this.#current ??= this.#options.compressor.take();
      const count = Math.min(bytes.length - from, this.#batchSize - this.#filled);
      this.#current.input.set(count === bytes.length ? bytes : bytes.subarray(from, from + count), this.#filled);
      this.#filled += count;
      from += count;
      if (this.#filled === this.#batchSize) this.#dispatch();
    }
    for (let left = zeros; left > 0; ) {
      this.#current ??= this.#options.compressor.take();
      const count = Math.min(left, this.#batchSize - this.#filled, ZEROS.length - WORD);
      // Not fill(), which V8 does byte by byte in shared memory; it copies by words what is aligned alike.
      const shift = this.#filled % WORD;
      this.#current.input.set(ZEROS.subarray(shift, shift + count), this.#filled);
      this.#filled += count;
      left -= count;
      if (this.#filled === this.#batchSize) this.#dispatch();
    }
  }

  /**
   * Copies whole blocks that are compressed already, as {@link CompressedBatch} has them: another file of the same algorithm and
   * block size holds them. The bytes before them must end with a whole block.
   */
  writeCompressed({ bytes, lengths }: CompressedBatch): void {
    if (this.#finished) throw new AccelError('internal', 'a finished ZFile was written to');
    this.#throwFailure();
    const { blockSize } = this.#options;
    if (this.#originalSize % blockSize !== 0)
      throw new AccelError('internal', 'compressed blocks begin within a block', { found: this.#originalSize });
    if (this.#filled > 0) this.#dispatch();
    const batch = { bytes: bytes.slice(), lengths: lengths.slice() };
    const length = lengths.length * blockSize;
    this.#originalSize += length;
    this.#inFlight++;
    const before = this.#tail;
    this.#tail = this.#guard(async () => {
      await before;
      if (this.#failure === undefined) await this.#append(batch, length);
      this.#inFlight--;
      this.#wakeUp();
    });
  }

  /** Byte of the file where block `i` begins, once the file is finished; for the number of blocks that of the index. */
  blockOffset(i: number): number {
    return ZFILE_SPACE + this.#lengths.sum(i);
  }

  /** Resolves when the writer can take more; rejects with what it failed with. */
  async drain(): Promise<void> {
    while (this.saturated && this.#failure === undefined)
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    this.#throwFailure();
  }

  /** Compresses the rest and writes index and trailer. */
  async finish(): Promise<FinishedZFile> {
    if (this.#finished) throw new AccelError('internal', 'a ZFile was finished twice');
    this.#finished = true;
    if (this.#filled > 0) this.#dispatch();
    await this.#tail;
    this.#throwFailure();
    const indexOffset = this.#position;
    let indexCrc = 0;
    for (const piece of this.#lengths.encode()) {
      indexCrc = crc32c(piece, indexCrc);
      await this.#options.write(piece);
    }
    await this.#options.write(this.#header(FLAG_SEALED, indexOffset, indexCrc));
    return {
      header: this.#header(FLAG_HEADER | FLAG_OVERWRITTEN, indexOffset, indexCrc),
      size: indexOffset + this.#lengths.count * INDEX_ENTRY_SIZE + ZFILE_SPACE,
      originalSize: this.#originalSize,
    };
  }

  /** Releases the batch that is being filled; to be called by whoever gives up before {@link ZFileWriter.finish}. */
  close(): void {
    this.#current?.release();
    this.#current = undefined;
  }

  #dispatch(): void {
    const batch = this.#current!;
    const length = this.#filled;
    this.#current = undefined;
    this.#filled = 0;
    this.#inFlight++;
    const before = this.#tail;
    // The compressor starts now, whatever is still ahead of this batch; only the writing waits for its turn.
    let compressed: CompressedBatch | undefined;
    const compressing = this.#guard(async () => {
      compressed = await batch.compress(length);
    });
    this.#tail = this.#guard(async () => {
      await compressing;
      await before;
      if (compressed !== undefined && this.#failure === undefined) await this.#append(compressed, length);
      batch.release();
      this.#inFlight--;
      this.#wakeUp();
    });
  }

  async #append({ bytes, lengths }: CompressedBatch, batchLength: number): Promise<void> {
    let sum = 0;
    for (const length of lengths) {
      this.#rules.next(length);
      this.#lengths.push(length);
      sum += length;
    }
    if (sum !== bytes.length || lengths.length !== Math.ceil(batchLength / this.#options.blockSize))
      throw new AccelError('internal', 'the compressor answered other blocks than it was given', {
        expected: `${Math.ceil(batchLength / this.#options.blockSize)} blocks, ${bytes.length} bytes`,
        found: `${lengths.length} blocks, ${sum} bytes`,
      });
    await this.#options.write(bytes);
    this.#position += bytes.length;
  }

  /** Runs `work`; the first failure of all is kept and thrown to the caller at its next call. */
  async #guard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#failure ??= { error };
      this.#wakeUp();
    }
  }

  #wakeUp(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #header(flags: number, indexOffset: number, indexCrc: number): Uint8Array {
    const { algorithm, blockSize } = this.#options;
    const header: ZFileHeader = {
      flags: flags | FLAG_DATA_FILE | FLAG_DIGEST,
      indexOffset,
      indexSize: indexOffset === 0 ? 0 : this.#lengths.count,
      originalFileSize: indexOffset === 0 ? 0 : this.#originalSize,
      indexCrc,
      blockSize,
      algorithm,
    };
    return encodeZFileHeader(header);
  }
}

/** The lengths of all blocks: 4 bytes for 4 KiB of input at the least, so they are kept as they will be written. */
class LengthList {
  #values = new Uint32Array(4096);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  push(length: number): void {
    if (this.#count === this.#values.length) {
      const wider = new Uint32Array(this.#count * 2);
      wider.set(this.#values);
      this.#values = wider;
    }
    this.#values[this.#count++] = length;
  }

  /** Sum of the first `count` lengths. */
  sum(count: number): number {
    return this.#values.subarray(0, Math.min(count, this.#count)).reduce((sum, length) => sum + length, 0);
  }

  *encode(): Generator<Uint8Array> {
    const perPiece = INDEX_PIECE / INDEX_ENTRY_SIZE;
    for (let from = 0; from < this.#count; from += perPiece) {
      const count = Math.min(perPiece, this.#count - from);
      const piece = new Uint8Array(count * INDEX_ENTRY_SIZE);
      const view = viewOf(piece);
      for (let i = 0; i < count; i++) view.setUint32(i * INDEX_ENTRY_SIZE, this.#values[from + i]!, true);
      yield piece;
    }
  }
}
