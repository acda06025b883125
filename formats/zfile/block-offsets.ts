/**
 * Where the blocks of a ZFile lie. Its index holds lengths only (docs/formats.md §2), so a position is a sum, from the
 * first block on or from the last one back. A reader that wants a few blocks of a large file sums from the nearer end:
 * file-system metadata is at the end of a layer, and 4 bytes for each 4 KiB add up to a megabyte for each gigabyte.
 */
import type { ReadAt } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { crc32c } from '../checksum/crc32c.ts';
import { INDEX_ENTRY_SIZE, LengthRules, ZFILE_SPACE, type ZFileHeader } from './layout.ts';

/** Entries of the unit in which parts of the index are read: 4 KiB of it, whole groups of every block size. */
const PAGE_ENTRIES = 1024;
/** Entries read ahead at most, and in one request. */
const MOST_ENTRIES = 1 << 18;

/** The positions of all blocks, learnt from both ends of the index as they are asked for. */
export class BlockOffsets {
  readonly #read: ReadAt;
  readonly #header: ZFileHeader;
  /** Position of each block and, behind the last one, of the index; valid up to `#front` and from `#back` on. */
  readonly #offsets: Float64Array;
  /** The index itself as far as it was read, for its checksum; dropped once that was checked. */
  #raw: Uint8Array | undefined;
  #front = 0;
  #back: number;
  /** Entries that the next read on a side takes at least: they double, so that a whole file costs few reads. */
  readonly #ahead = { front: PAGE_ENTRIES, back: PAGE_ENTRIES };
  #turn: Promise<void> = Promise.resolve();

  /** Nothing is read yet. `read` answers exactly the bytes of the ZFile that it is asked for. */
  constructor(read: ReadAt, header: ZFileHeader) {
    this.#read = read;
    this.#header = header;
    this.#offsets = new Float64Array(header.indexSize + 1);
    this.#offsets[0] = ZFILE_SPACE;
    this.#offsets[header.indexSize] = header.indexOffset;
    this.#raw = new Uint8Array(header.indexSize * INDEX_ENTRY_SIZE);
    this.#back = header.indexSize;
    if (header.indexSize === 0) this.#finish();
  }

  /** Number of blocks. */
  get count(): number {
    return this.#header.indexSize;
  }

  /** Whether the whole index was read, and its checksum found right. */
  get complete(): boolean {
    return this.#raw === undefined;
  }

  /** Where block `i` begins, and the index for `i` = `count`. AccelError `internal` unless it was located. */
  at(i: number): number {
    if (i > this.#front && i < this.#back)
      throw new AccelError('internal', 'a block of the ZFile was not located', { where: { block: i } });
    return this.#offsets[i]!;
  }

  /** The block up to which (exclusive) all positions from block `i` on are known; `i` itself if it is not known. */
  knownFrom(i: number): number {
    if (this.complete || i >= this.#back) return this.count;
    return Math.max(i, this.#front);
  }

  /**
   * Makes the positions of the blocks `first` to `last` (exclusive) known. Throws `zfile-invalid` for lengths that no
   * node accepts, and when the index has been read whole and its checksum or sum is wrong. Before that a wrong length
   * shows in the checksum of the blocks after it.
   */
  locate(first: number, last: number): Promise<void> {
    if (this.#knows(first, last)) return Promise.resolve();
    const done = this.#turn.then(() => this.#locate(first, last));
    // The next in line reads for itself what this one failed to.
    this.#turn = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  #knows(first: number, last: number): boolean {
    return this.complete || last <= this.#front || first >= this.#back;
  }

  async #locate(first: number, last: number): Promise<void> {
    if (this.#knows(first, last)) return;
    const fromFront = last - this.#front;
    const fromBack = this.#back - first;
    const side = fromFront <= fromBack ? 'front' : 'back';
    const wanted = Math.max(Math.min(fromFront, fromBack), this.#ahead[side]);
    this.#ahead[side] = Math.min(this.#ahead[side] * 2, MOST_ENTRIES);
    if (side === 'front') await this.#sumForward(Math.min(pageEnd(this.#front + wanted), this.#back));
    else await this.#sumBackward(Math.max(pageStart(this.#back - wanted), this.#front));
  }

  async #sumForward(end: number): Promise<void> {
    const lengths = await this.#entries(this.#front, end);
    let at = this.#offsets[this.#front]!;
    for (let i = this.#front; i < end; i++) {
      this.#offsets[i] = at;
      at += lengths.getUint32((i - this.#front) * INDEX_ENTRY_SIZE, true);
    }
    if (end === this.#back) return this.#finish(this.#offsets[end]!, at);
    if (at > this.#header.indexOffset) throw ends(this.#header.indexOffset, at);
    this.#offsets[end] = at;
    this.#front = end;
  }

  async #sumBackward(start: number): Promise<void> {
    const lengths = await this.#entries(start, this.#back);
    let at = this.#offsets[this.#back]!;
    for (let i = this.#back - 1; i >= start; i--) {
      at -= lengths.getUint32((i - start) * INDEX_ENTRY_SIZE, true);
      if (i > start) this.#offsets[i] = at;
    }
    if (start === this.#front) return this.#finish(at, this.#offsets[start]!);
    if (at < ZFILE_SPACE) throw ends(ZFILE_SPACE, at);
    this.#offsets[start] = at;
    this.#back = start;
  }

  /** The index was read whole, and the sums from both ends met. */
  #finish(expected = 0, found = 0): void {
    const crc = crc32c(this.#raw!);
    if (crc !== this.#header.indexCrc)
      throw invalid('the ZFile index does not match its checksum', hex32(this.#header.indexCrc), hex32(crc));
    if (expected !== found) throw ends(expected, found);
    this.#raw = undefined;
    this.#front = this.#back = this.count;
  }

  /** The lengths of the blocks `from` to `to`, each checked as a node does. `from` begins a group. */
  async #entries(from: number, to: number): Promise<DataView> {
    const rules = new LengthRules(this.#header.blockSize, 'zfile-invalid', from);
    const bytes = this.#raw!.subarray(from * INDEX_ENTRY_SIZE, to * INDEX_ENTRY_SIZE);
    for (let at = 0; at < bytes.length; at += MOST_ENTRIES * INDEX_ENTRY_SIZE) {
      const length = Math.min(MOST_ENTRIES * INDEX_ENTRY_SIZE, bytes.length - at);
      bytes.set(await this.#read(this.#header.indexOffset + from * INDEX_ENTRY_SIZE + at, length), at);
    }
    const view = viewOf(bytes);
    for (let i = 0; i < to - from; i++) rules.next(view.getUint32(i * INDEX_ENTRY_SIZE, true));
    return view;
  }
}

function pageStart(entry: number): number {
  return Math.floor(entry / PAGE_ENTRIES) * PAGE_ENTRIES;
}

function pageEnd(entry: number): number {
  return Math.ceil(entry / PAGE_ENTRIES) * PAGE_ENTRIES;
}

function ends(expected: number, found: number): AccelError {
  return invalid('the blocks of the ZFile do not end at its index', expected, found);
}

function invalid(message: string, expected: string | number, found: string | number): AccelError {
  return new AccelError('zfile-invalid', message, { where: { part: 'index' }, expected, found });
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}
