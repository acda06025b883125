/**
 * Applies a layer's tar to the state of an image: the tree by the rules of formats/layer, the content of files to a sink.
 * Nothing here touches the host's files.
 */
import { AccelError, withPlace } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { LayerRules, Unfinished } from '../layer/rules.ts';
import type { SparseRun, TarEntry, TarHandler } from '../tar/entry.ts';
import type { Ext4Image } from './ext4-image.ts';
import { Ext4LayerTree } from './layer-tree.ts';
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

/** Something of an entry that could not be kept, with the path in the tar. */
export type WarningSink = (message: string, path: string) => void;

/** Longest file: 2^32 - 1 blocks. */
const FILE_SIZE_MAX = (2 ** 32 - 1) * BLOCK_SIZE;

/** A handler for the tar parser that applies one layer; make a new one, after `image.beginLayer()`, for each. */
export class TarApplier implements TarHandler {
  readonly #image: Ext4Image;
  readonly #sink: FileDataSink;
  readonly #rules: LayerRules<number>;
  readonly #warn: WarningSink;
  /** Runs of the current file that are still to come, the first one begun. */
  #runs: { readonly device: number; readonly tar: number; readonly length: number; readonly endsFile: boolean }[] = [];
  #runLeft = 0;
  #entries = 0;
  #ignoredRecords = false;

  constructor(image: Ext4Image, sink: FileDataSink, warn: WarningSink) {
    this.#image = image;
    this.#sink = sink;
    this.#warn = warn;
    this.#rules = new LayerRules(new Ext4LayerTree(image), { changed: warn, differs: warn });
  }

  /** Entries applied so far. */
  get entries(): number {
    return this.#entries;
  }

  entry(entry: TarEntry): Generator<undefined, void> | undefined {
    this.#entries++;
    this.#runs = [];
    this.#runLeft = 0;
    try {
      const inode = this.#rules.begin(entry);
      if (inode instanceof Unfinished) return this.#finish(inode, entry);
      if (inode !== undefined && entry.type === 'file') this.#beginFile(inode, entry);
      return undefined;
    } catch (error) {
      throw placed(error, entry);
    }
  }

  ignoredRecords(keys: readonly string[]): void {
    if (this.#ignoredRecords) return;
    this.#ignoredRecords = true;
    this.#warn(
      `the records of PAX global headers are ignored, as container runtimes ignore them: ${keys.map(printable).join(', ').slice(0, 200)}`,
      'PAX global header',
    );
  }

  data(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && this.#runs.length > 0; ) {
      const length = Math.min(this.#runLeft, bytes.length - at);
      this.#sink.write(bytes.subarray(at, at + length));
      at += length;
      this.#runLeft -= length;
      if (this.#runLeft === 0) {
        this.#runs.pop();
        this.#beginRun();
      }
    }
  }

  entryEnd(): void {
    if (this.#runLeft !== 0) throw new AccelError('internal', 'a file ended before its data', { found: this.#runLeft });
  }

  *#finish({ steps }: Unfinished<number>, entry: TarEntry): Generator<undefined, void> {
    try {
      const inode = yield* steps;
      if (inode !== undefined && entry.type === 'file') this.#beginFile(inode, entry);
    } catch (error) {
      throw placed(error, entry);
    }
  }

  #beginFile(inode: number, entry: TarEntry): void {
    if (entry.size > FILE_SIZE_MAX) {
      throw new AccelError('limit-exceeded', 'a file is too large for ext4', {
        expected: `at most ${FILE_SIZE_MAX} bytes`,
        found: entry.size,
      });
    }
    this.#image.setSize(inode, entry.size);
    const runs: readonly SparseRun[] = entry.sparse ?? (entry.size > 0 ? [{ offset: 0, length: entry.size }] : []);
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

  #beginRun(): void {
    const run = this.#runs.at(-1);
    if (run === undefined) return;
    this.#runLeft = run.length;
    this.#sink.beginRun(run.device, run.tar, run.length, run.endsFile);
  }
}

function placed(error: unknown, { name, headerOffset }: TarEntry): AccelError {
  return withPlace(error, { path: printable(name), tarOffset: headerOffset });
}
