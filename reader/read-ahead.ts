/**
 * Decides how much to fetch beyond a request: little at a random place, increasing amounts where reading is sequential.
 */

/** Bytes fetched at a random place: metadata is read 4 KiB at a time, and its neighbours are wanted next. */
const FIRST_WINDOW = 12_288;
/** Bytes fetched at most where reading goes on: whoever reads a large file asks for more than this at a time anyway. */
const LAST_WINDOW = 1 << 18;
/** Places where reading may go on: a walk through a tree goes through inode tables and directories side by side. */
const STREAMS = 8;
/** Blocks that may be skipped in a sequential read. */
const SKIP = 8;

/** A place where reading may go on. */
interface Stream {
  /** The block after the last one fetched. */
  readonly next: number;
  /** Bytes that were fetched there last. */
  readonly window: number;
}

/** Watches the blocks of one file that are fetched. */
export class ReadAhead {
  /** Least recently used first. */
  readonly #streams: Stream[] = [];

  /** Bytes that a fetch from block `first` on should have at least. */
  windowFor(first: number): number {
    const at = this.#streams.findIndex(({ next }) => first >= next && first <= next + SKIP);
    if (at < 0) return FIRST_WINDOW;
    const { window } = this.#streams.splice(at, 1)[0]!;
    return Math.min(window * 2, LAST_WINDOW);
  }

  /** Records a fetch of `window` bytes that ended before block `next`. */
  fetched(next: number, window: number): void {
    this.#streams.push({ next, window });
    if (this.#streams.length > STREAMS) this.#streams.shift();
  }
}
