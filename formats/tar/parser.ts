/**
 * The parser: bytes in, in pieces of any size; entries and views of their data out. It holds one block, one extension
 * header and one sparse map at most, and never file data.
 */
import { advise, option } from '../../base/advice.ts';
import { AccelError, withPlace } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { assemble, type Draft } from './assemble.ts';
import type { TarHandler } from './entry.ts';
import { ExtensionState } from './extensions.ts';
import { HeaderDecoder, isZeroBlock, type RawHeader } from './header.ts';
import { BLOCK_SIZE, gnuHeader, gnuSparseBlock, paddingOf } from './layout.ts';
import { parseNumber } from './number.ts';
import { readGnuElements, readPaxMap, SparseMapReader, SparseRuns } from './sparse.ts';
import { DEFAULT_TAR_LIMITS, type TarLimits } from './tar-limits.ts';

/** The kind of the next bytes. */
type Phase =
  | 'header'
  // A further block of an old GNU sparse map.
  | 'gnu-sparse'
  // A block of the sparse map in front of the data (PAX 1.0).
  | 'sparse-map'
  // The body of an extension header, which is gathered.
  | 'extension'
  // File data, which is passed on.
  | 'data'
  // Padding, and data that no one wants.
  | 'skip'
  // A first zero block: a second one comes, or nothing.
  | 'zero-block'
  // Behind the end of the archive: anything, which is counted.
  | 'ended';

/** A sparse file between its header and the end of its map. */
interface PendingSparse {
  readonly draft: Draft;
  readonly runs: SparseRuns;
  readonly mapReader: SparseMapReader | undefined;
  /** Bytes of the map in the data read so far. */
  mapBytes: number;
}

/**
 * A synchronous push parser for tar archives: ustar, V7, star, GNU and PAX. Every defect of the archive is an
 * {@link AccelError} of code `tar-invalid` or `limit-exceeded` with the byte offset and, where known, the path; after
 * one, the parser takes no more bytes. Errors that the handler throws pass through unchanged.
 */
export class TarParser {
  readonly #handler: TarHandler;
  readonly #limits: TarLimits;
  readonly #extensions: ExtensionState;
  readonly #headers = new HeaderDecoder();
  /** Gathers a block that is split between chunks. */
  readonly #block = Buffer.alloc(BLOCK_SIZE);
  #blockFilled = 0;
  #phase: Phase = 'header';
  /** Bytes that the phases `extension`, `data` and `skip` still take. */
  #remaining = 0;
  /** Padding at the end of what is being skipped. */
  #padding = 0;
  #sparse: PendingSparse | undefined;
  /** Where the header being read began, and the name it gave: the place of an error. */
  #headerOffset = 0;
  #name: string | undefined;
  #offset = 0;
  #broken = false;
  /** The rest of an entry that its handler works on in steps. */
  #work: Generator<undefined, void> | undefined;

  constructor(handler: TarHandler, limits: Partial<TarLimits> = {}) {
    this.#handler = handler;
    this.#limits = { ...DEFAULT_TAR_LIMITS, ...limits };
    this.#extensions = new ExtensionState(this.#limits);
  }

  /** Bytes of the tar taken so far, with whatever came after the end of the archive. */
  get offset(): number {
    return this.#offset;
  }

  /** Takes the next bytes of the tar. The chunk may be reused as soon as this returns. */
  push(chunk: Uint8Array): void {
    for (const _ of this.steps(chunk));
  }

  /**
   * As {@link push}, with an undefined wherever a handler's work on an entry may pause for others'. The chunk may be reused
   * after the last step.
   */
  *steps(chunk: Uint8Array): Generator<undefined, void> {
    if (this.#broken) throw new AccelError('internal', 'a tar parser was used after an error');
    // Set while work is under way, so that an exception from anywhere leaves it set.
    this.#broken = true;
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const end = this.#offset + bytes.length;
    let at = 0;
    // Bytes within the bound are parsed first: a header that announces too much has a path for the error.
    const within = end > this.#limits.archiveBytes ? bytes.length - (end - this.#limits.archiveBytes) : bytes.length;
    while (at < within) {
      at += this.#step(chunk, bytes, at);
      if (this.#work === undefined) continue;
      yield* this.#work;
      this.#work = undefined;
    }
    this.#assertSize(end);
    this.#broken = false;
  }

  /** Ends the archive. Throws `tar-invalid` if it breaks off inside an entry; blocks that mark the end may be missing. */
  end(): void {
    if (this.#broken) throw new AccelError('internal', 'a tar parser was used after an error');
    this.#broken = true;
    if (this.#phase === 'ended') return;
    if (this.#phase === 'zero-block') {
      if (this.#block.subarray(0, this.#blockFilled).some((byte) => byte !== 0)) throw this.#place(loneZeroBlock());
      return;
    }
    // The padding of the last file may be missing, as Go has it, too: no byte of content is.
    const complete = this.#phase === 'skip' ? this.#remaining <= this.#padding : this.#phase === 'header';
    if (complete && this.#blockFilled === 0 && !this.#extensions.pending) return;
    if (this.#phase === 'header') {
      this.#headerOffset = this.#offset - this.#blockFilled;
      this.#name = undefined;
    }
    throw this.#place(
      new AccelError('tar-invalid', 'the tar archive is cut off', {
        expected: this.#describeMissing(),
        found: `the end of the layer at byte ${this.#offset}`,
        hint: 'the layer is damaged: build or push the image again',
      }),
    );
  }

  /** Takes bytes from `at` on as the phase wants them; returns how many. */
  #step(chunk: Uint8Array, bytes: Buffer, at: number): number {
    const available = bytes.length - at;
    switch (this.#phase) {
      case 'header':
      case 'gnu-sparse':
      case 'sparse-map':
      case 'zero-block':
        return this.#gatherBlock(bytes, at, available);
      case 'extension': {
        const taken = this.#consume(available);
        this.#extensions.gather(bytes.subarray(at, at + taken));
        if (this.#remaining === 0) this.#closeExtension();
        return taken;
      }
      case 'data': {
        const taken = this.#consume(available);
        this.#handler.data(chunk.subarray(at, at + taken));
        if (this.#remaining === 0) this.#endEntry();
        return taken;
      }
      case 'skip': {
        const taken = this.#consume(available);
        if (this.#remaining === 0) this.#phase = 'header';
        return taken;
      }
      case 'ended':
        this.#offset += available;
        return available;
    }
  }

  #consume(available: number): number {
    const taken = Math.min(available, this.#remaining);
    this.#remaining -= taken;
    this.#offset += taken;
    return taken;
  }

  #gatherBlock(bytes: Buffer, at: number, available: number): number {
    if (this.#blockFilled === 0 && available >= BLOCK_SIZE) {
      this.#takeBlock(bytes, at);
      return BLOCK_SIZE;
    }
    const taken = Math.min(available, BLOCK_SIZE - this.#blockFilled);
    bytes.copy(this.#block, this.#blockFilled, at, at + taken);
    this.#blockFilled += taken;
    if (this.#blockFilled < BLOCK_SIZE) {
      this.#offset += taken;
      return taken;
    }
    this.#offset -= BLOCK_SIZE - taken;
    this.#blockFilled = 0;
    this.#takeBlock(this.#block, 0);
    return taken;
  }

  /** Takes a whole block; `#offset` is where it began. */
  #takeBlock(bytes: Buffer, at: number): void {
    if (this.#phase === 'header') {
      this.#headerOffset = this.#offset;
      this.#name = undefined;
    }
    let draft: Draft | undefined;
    try {
      draft = this.#readBlock(bytes, at);
    } catch (error) {
      throw this.#place(error);
    }
    if (draft !== undefined) this.#beginEntry(draft);
  }

  /** Reads a block of the three phases that take blocks; a draft if the entry is complete with it. */
  #readBlock(bytes: Buffer, at: number): Draft | undefined {
    const phase = this.#phase;
    this.#offset += BLOCK_SIZE;
    if (phase === 'gnu-sparse') {
      readGnuElements(bytes, at, 21, this.#sparse!.runs);
      return bytes[at + gnuSparseBlock.offsets.isextended] === 0 ? this.#endSparse() : undefined;
    }
    if (phase === 'sparse-map') {
      const sparse = this.#sparse!;
      sparse.mapBytes += BLOCK_SIZE;
      const done = sparse.mapReader!.push(bytes, at, BLOCK_SIZE);
      if (sparse.mapBytes > sparse.draft.storedSize) throw mapTooLong(sparse.draft.storedSize);
      return done ? this.#endSparse() : undefined;
    }
    if (phase === 'zero-block') {
      if (!isZeroBlock(bytes, at)) throw loneZeroBlock();
      this.#phase = 'ended';
      return undefined;
    }
    if (isZeroBlock(bytes, at)) {
      if (this.#extensions.pending) throw danglingExtension();
      this.#phase = 'zero-block';
      return undefined;
    }
    return this.#readHeader(bytes, at);
  }

  #readHeader(bytes: Buffer, at: number): Draft | undefined {
    const header = this.#headers.decode(bytes, at);
    this.#name = header.name;
    if (this.#extensions.begin(header, this.#headerOffset)) {
      this.#remaining = header.size;
      this.#padding = paddingOf(header.size);
      this.#phase = 'extension';
      if (header.size === 0) this.#endExtension();
      return undefined;
    }
    if (header.typeflag === 'V') {
      // A volume label of GNU tar names the archive, not a file.
      this.#extensions.take(this.#headerOffset);
      this.#skip(header.size, paddingOf(header.size));
      return undefined;
    }
    return this.#readEntryHeader(header, bytes, at);
  }

  #readEntryHeader(header: RawHeader, bytes: Buffer, at: number): Draft | undefined {
    const isGnuSparse = header.typeflag === 'S';
    const realSize = isGnuSparse ? parseNumber(bytes, at + gnuHeader.offsets.realsize, 12, 'realsize') : 0;
    const extensions = this.#extensions.take(this.#headerOffset);
    this.#name = extensions.longName ?? header.name;
    const draft = assemble(header, extensions, realSize, this.#limits);
    this.#name = draft.entry.name;
    // Data that a header announces is refused before any of it comes.
    this.#assertSize(this.#offset + draft.storedSize + draft.skippedSize);
    if (draft.sparseMap === 'none') return draft;
    const runs = new SparseRuns(draft.entry.size, this.#limits.sparseRuns);
    const mapReader = draft.sparseMap === 'data' ? new SparseMapReader(runs, this.#limits.sparseRuns) : undefined;
    this.#sparse = { draft, runs, mapReader, mapBytes: 0 };
    if (draft.sparseMap === 'data') {
      this.#phase = 'sparse-map';
      return undefined;
    }
    if (draft.sparseMap === 'records') {
      readPaxMap(extensions.records, runs);
      return this.#endSparse();
    }
    readGnuElements(bytes, at + gnuHeader.offsets.sparse, 4, runs);
    if (bytes[at + gnuHeader.offsets.isextended] === 0) return this.#endSparse();
    this.#phase = 'gnu-sparse';
    return undefined;
  }

  /** The map is complete: it must account for every byte of data that follows. */
  #endSparse(): Draft {
    const { draft, runs, mapBytes } = this.#sparse!;
    const packedSize = draft.storedSize - mapBytes;
    if (runs.total === packedSize) return draft;
    throw new AccelError('tar-invalid', 'the map of a sparse file does not match its data', {
      expected: `${runs.total} bytes of data`,
      found: packedSize,
    });
  }

  #closeExtension(): void {
    try {
      this.#endExtension();
    } catch (error) {
      throw this.#place(error);
    }
  }

  #endExtension(): void {
    this.#extensions.end();
    const ignored = this.#extensions.takeIgnored();
    if (ignored.length > 0) this.#handler.ignoredRecords?.(ignored);
    this.#skip(0, this.#padding);
  }

  #beginEntry(draft: Draft): void {
    const { entry } = draft;
    entry.packedSize = draft.storedSize - (this.#sparse?.mapBytes ?? 0);
    entry.dataOffset = this.#offset;
    entry.sparse = this.#sparse?.runs.runs;
    this.#sparse = undefined;
    this.#padding = paddingOf(draft.storedSize);
    const work = this.#handler.entry(entry);
    if (work === undefined) this.#beginData(draft);
    else this.#work = this.#finishEntry(work, draft);
  }

  *#finishEntry(work: Generator<undefined, void>, draft: Draft): Generator<undefined, void> {
    yield* work;
    this.#beginData(draft);
  }

  #beginData({ entry, skippedSize }: Draft): void {
    if (entry.packedSize > 0) {
      this.#remaining = entry.packedSize;
      this.#phase = 'data';
      return;
    }
    if (skippedSize > 0) {
      this.#handler.entryEnd();
      this.#skip(skippedSize, paddingOf(skippedSize));
      return;
    }
    this.#endEntry();
  }

  #endEntry(): void {
    this.#skip(0, this.#padding);
    this.#handler.entryEnd();
  }

  #skip(size: number, padding: number): void {
    this.#remaining = size + padding;
    this.#padding = padding;
    this.#phase = this.#remaining === 0 ? 'header' : 'skip';
  }

  #assertSize(bytes: number): void {
    if (bytes <= this.#limits.archiveBytes) return;
    throw this.#place(
      new AccelError('limit-exceeded', 'the layer is larger than accel reads', {
        expected: `at most ${this.#limits.archiveBytes} bytes, uncompressed`,
        found: `at least ${bytes} bytes`,
        hint: advise`If the image is what you expect, raise the bound with ${option('maxLayerSize')}.`,
      }),
    );
  }

  #place(error: unknown): AccelError {
    const path = this.#name === undefined ? {} : { path: printable(this.#name) };
    return withPlace(error, { tarOffset: this.#headerOffset, ...path });
  }

  #describeMissing(): string {
    if (this.#phase === 'header' && this.#blockFilled === 0) return 'the entry that an extension header announced';
    if (this.#phase === 'data') return `${this.#remaining} more bytes of data`;
    if (this.#phase === 'extension') return `${this.#remaining} more bytes of an extension header`;
    if (this.#phase === 'skip') return `${this.#remaining} more bytes up to the next header`;
    return 'a whole block of 512 bytes';
  }
}

function mapTooLong(size: number): AccelError {
  return new AccelError('tar-invalid', 'the map of a sparse file is longer than what is stored', {
    expected: `at most ${size} bytes`,
  });
}

function loneZeroBlock(): AccelError {
  return new AccelError('tar-invalid', 'a single zero block is followed by more of the archive', {
    expected: 'two zero blocks at the end, or nothing after the first',
    found: 'a block that is not zero',
    hint: 'containerd refuses this layer, and other tools leave out what follows: build the image again.',
  });
}

function danglingExtension(): AccelError {
  return new AccelError('tar-invalid', 'an extension header has no entry after it', {
    expected: 'the entry that it describes',
    found: 'the end of the archive',
  });
}
