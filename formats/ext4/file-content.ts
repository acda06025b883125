/** The content of files: blocks for it, and the runs in which it goes to a sink. */
import { AccelError } from '../../base/error.ts';
import type { SparseRun, TarEntry } from '../tar/entry.ts';
import type { Ext4Image } from './ext4-image.ts';
import { BLOCK_SIZE } from './layout.ts';

/** Receives file data in tar order. */
export interface FileDataSink {
  /**
   * The next `length` bytes given to {@link write} are those from byte `tarOffset` of the tar on and belong from byte
   * `deviceOffset` of the device on. Within a file `deviceOffset` ascends; a new file starts at a block's first byte,
   * the run of a sparse file anywhere. Bytes that the runs of a block leave open read as zeros. `endsFile` says that nothing
   * of the file follows: the rest of a partial last sector of the tar cannot be read through the file.
   */
  beginRun(deviceOffset: number, tarOffset: number, length: number, endsFile: boolean): void;
  /** The next bytes of the run; a view that is valid during the call only. */
  write(bytes: Uint8Array): void;
}

/** Takes the content of files while a tar is read. Calls come entry by entry: next, begin, data. */
export interface FileContent {
  /** An entry follows, of whatever type. */
  next(entry: TarEntry): void;
  /** The entry is a file, with this inode. */
  begin(inode: number, entry: TarEntry): void;
  /** The next bytes of the entry; a view that is valid during the call only. */
  data(bytes: Uint8Array): void;
  /** The entry ends. */
  end(): void;
}

/** A stretch of a sparse file on the device and in the tar; see {@link FileDataSink.beginRun}. */
interface Run {
  readonly device: number;
  readonly tar: number;
  readonly length: number;
  readonly endsFile: boolean;
}

/** Longest file: 2^32 - 1 blocks. */
const FILE_SIZE_MAX = (2 ** 32 - 1) * BLOCK_SIZE;

/** Allocates blocks for content and passes it on to a sink. */
export class StoredContent implements FileContent {
  readonly #image: Ext4Image;
  readonly #sink: FileDataSink;
  /** Runs of a sparse file that are still to come, the last one first. */
  #runs: Run[] = [];
  #runLeft = 0;

  constructor(image: Ext4Image, sink: FileDataSink) {
    this.#image = image;
    this.#sink = sink;
  }

  next(): void {
    if (this.#runs.length > 0) this.#runs = [];
    this.#runLeft = 0;
  }

  begin(inode: number, entry: TarEntry): void {
    checkFileSize(entry);
    this.#image.setSize(inode, entry.size);
    if (entry.sparse !== undefined) this.#beginSparse(inode, entry, entry.sparse);
    else if (entry.size > 0) {
      const device = this.#image.allocate(inode, 0, Math.ceil(entry.size / BLOCK_SIZE)) * BLOCK_SIZE;
      this.#runLeft = entry.size;
      this.#sink.beginRun(device, entry.dataOffset, entry.size, true);
    }
  }

  #beginSparse(inode: number, entry: TarEntry, runs: readonly SparseRun[]): void {
    let tar = entry.dataOffset;
    let end = 0;
    let base = 0;
    for (const run of runs) {
      // Two runs may share a block. Nothing else allocates in between, so blocks that follow in the file follow on the
      // device, and a run that begins in an existing block keeps its place relative to it.
      const first = Math.max(Math.floor(run.offset / BLOCK_SIZE), end);
      const last = Math.ceil((run.offset + run.length) / BLOCK_SIZE);
      if (last > end) {
        base = this.#image.allocate(inode, first, last - first) - first;
        end = last;
      }
      this.#runs.push({
        device: base * BLOCK_SIZE + run.offset,
        tar,
        length: run.length,
        endsFile: run.offset + run.length === entry.size,
      });
      tar += run.length;
    }
    this.#runs.reverse();
    this.#beginRun();
  }

  data(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && this.#runLeft > 0; ) {
      const length = Math.min(this.#runLeft, bytes.length - at);
      this.#sink.write(length === bytes.length ? bytes : bytes.subarray(at, at + length));
      at += length;
      this.#runLeft -= length;
      if (this.#runLeft === 0) this.#beginRun();
    }
  }

  end(): void {
    if (this.#runLeft !== 0) throw new AccelError('internal', 'a file ended before its data', { found: this.#runLeft });
  }

  #beginRun(): void {
    const run = this.#runs.pop();
    if (run === undefined) return;
    this.#runLeft = run.length;
    this.#sink.beginRun(run.device, run.tar, run.length, run.endsFile);
  }
}

/** Throws `limit-exceeded` for a file that ext4 cannot hold. */
export function checkFileSize({ size }: TarEntry): void {
  if (size <= FILE_SIZE_MAX) return;
  throw new AccelError('limit-exceeded', 'a file is too large for ext4', {
    expected: `at most ${FILE_SIZE_MAX} bytes`,
    found: size,
  });
}
