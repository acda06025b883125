/** Blocks of one file in a blob (a ZFile, a tar), fetched in few requests and kept in the image's cache. */
import type { BlockCache } from './block-cache.ts';
import { ReadAhead } from './read-ahead.ts';
import type { FilePart } from './startup-size.ts';

/** The source of blocks, which are numbered from 0 and consecutive, in the file and in the blob. */
export interface BlockBackend {
  /** Number of blocks. */
  readonly count: number;
  /** Number of the block that holds byte `offset` of the file. */
  blockAt(offset: number): number;
  /** First byte of block `i`; for `count` the size of the file. */
  startOf(i: number): number;
  /** Makes {@link BlockBackend.fetchedSize} possible for blocks `first` to `last` (exclusive). */
  locate(first: number, last: number): Promise<void>;
  /** The block up to which (exclusive) everything from block `i` on is located. */
  locatedFrom(i: number): number;
  /** The block that decoding begins with where block `i` is wanted: those from there on come along. */
  entryTo(i: number): number;
  /** Bytes that are fetched for the blocks `first` to `last` (exclusive). */
  fetchedSize(first: number, last: number): number;
  /** Fetches the blocks `first` to `last` (exclusive); each is an array of its own. */
  load(first: number, last: number): Promise<Uint8Array[]>;
  /**
   * The part that a start reads one block after another: where in the blob the first block is, and the byte up to which (exclusive) it
   * reads. Absent where that is not known.
   */
  readonly front?: { readonly start: number; readonly end: number } | undefined;
  /** Whether the blocks `first` to `last` (exclusive) are in memory, compressed. Absent where none ever are. */
  holds?(first: number, last: number): boolean;
}

/** Part of a file that is wanted, and where it goes. */
export interface Piece {
  /** Byte of the file. */
  readonly offset: number;
  /** Filled with what is there. */
  readonly target: Uint8Array;
}

/** Largest gap between two wanted blocks that is fetched to save a request, in bytes. */
const MAX_GAP = 32_768;
/** Bytes of one request, unless a single block has more. */
const MAX_RUN = 1 << 20;
/** Bytes of one request's blocks in memory: what compresses to next to nothing must not fill it. */
const MAX_LOADED = 4 << 20;
/** Bytes between parts that a start reads which are fetched with them, to save a request. */
const STARTUP_GAP = 196_608;
/** Blocks before a wanted one that are kept, where decoding comes by them. */
const MOST_BEFORE = 16;
/** Blocks that lie nearer than this are located together. */
const NEAR_BLOCKS = 64;
/** Room for the numbers of one file's blocks among the keys of the cache. */
const KEYS_PER_STORE = 2 ** 40;

/** The blocks `first` to `last` (exclusive). */
interface Run {
  readonly first: number;
  readonly last: number;
}

/** The blocks of one file. Reads may overlap in time. */
export class BlockStore {
  readonly #backend: BlockBackend;
  readonly #cache: BlockCache;
  readonly #firstKey: number;
  readonly #ahead = new ReadAhead();
  /** Runs of what a start reads, ascending; near parts are one. */
  readonly #startup: readonly Run[];

  /**
   * `number` distinguishes the stores that share `cache`: 0 to 8191. `startup`: the parts of the file that a start reads, ascending, of
   * a backend that knows where all blocks are.
   */
  constructor(backend: BlockBackend, cache: BlockCache, number: number, startup: readonly FilePart[] = []) {
    this.#backend = backend;
    this.#cache = cache;
    this.#firstKey = number * KEYS_PER_STORE;
    this.#startup = joinedRuns(backend, startup);
  }

  /** Bytes of the file. */
  get size(): number {
    return this.#backend.startOf(this.#backend.count);
  }

  /** Bytes that are fetched for a part of the file, which must lie inside of it, if none of it is cached. */
  async storedSize(offset: number, length: number): Promise<number> {
    if (length === 0) return 0;
    const first = this.#backend.blockAt(offset);
    const last = this.#backend.blockAt(offset + length - 1) + 1;
    await this.#backend.locate(first, last);
    return this.#backend.fetchedSize(first, last);
  }

  /** Fills every piece; all lie inside the file. */
  async fill(pieces: readonly Piece[]): Promise<void> {
    const backend = this.#backend;
    const numbers = new Set<number>();
    for (const { offset, target } of pieces) {
      if (target.length === 0) continue;
      const last = backend.blockAt(offset + target.length - 1);
      for (let i = backend.blockAt(offset); i <= last; i++) numbers.add(i);
    }
    const blocks = await this.#get([...numbers].sort((a, b) => a - b));
    for (const { offset, target } of pieces) {
      for (let done = 0; done < target.length; ) {
        const number = backend.blockAt(offset + done);
        const skip = offset + done - backend.startOf(number);
        const part = blocks.get(number)!.subarray(skip, skip + target.length - done);
        target.set(part, done);
        done += part.length;
      }
    }
  }

  /** The blocks of ascending, distinct numbers. */
  async #get(numbers: readonly number[]): Promise<Map<number, Uint8Array>> {
    await this.#locate(numbers);
    // From here to the last announcement nothing else runs, so that no two readers fetch the same block.
    const blocks = new Map<number, Uint8Array>();
    const missing: number[] = [];
    const arrivals: [number, Promise<Uint8Array>][] = [];
    for (const number of numbers) {
      const known = this.#cache.get(this.#firstKey + number);
      if (known === undefined) missing.push(number);
      else if (known instanceof Uint8Array) blocks.set(number, known);
      else arrivals.push([number, known]);
    }
    let fetched = 0;
    for (const [i, number] of missing.entries()) {
      if (number >= fetched) fetched = this.#fetch(missing, i);
      arrivals.push([number, this.#cache.get(this.#firstKey + number) as Promise<Uint8Array>]);
    }
    await Promise.all(arrivals.map(async ([number, arrival]) => blocks.set(number, await arrival)));
    return blocks;
  }

  /** Locates each group of near blocks by itself, without the blocks in between. */
  async #locate(numbers: readonly number[]): Promise<void> {
    for (let from = 0; from < numbers.length; ) {
      let to = from + 1;
      while (to < numbers.length && numbers[to]! - numbers[to - 1]! <= NEAR_BLOCKS) to++;
      await this.#backend.locate(numbers[from]!, numbers[to - 1]! + 1);
      from = to;
    }
  }

  /** Starts one fetch that begins with block `missing[i]`; returns the block after its last one. */
  #fetch(missing: readonly number[], i: number): number {
    const backend = this.#backend;
    const wanted = missing[i]!;
    const group = this.#startup.find(({ first, last }) => first <= wanted && wanted < last);
    const first = this.#beginFor(group === undefined ? wanted : this.#startOfGroup(group, wanted));
    const located = backend.locatedFrom(first);
    let last = wanted + 1;
    for (let j = i + 1; j < missing.length; j++) {
      const number = missing[j]!;
      if (number >= located || backend.fetchedSize(last, number) > MAX_GAP) break;
      if (!this.#fits(first, number + 1, MAX_RUN)) break;
      last = number + 1;
    }
    const window = this.#ahead.windowFor(wanted);
    // Bytes that opening the layer fetched cost nothing; reading on after them would.
    const isHeld = backend.holds?.(first, last) === true;
    while (last < located && !this.#isHere(last) && this.#isAhead({ first, last: last + 1 }, window, group)) {
      if (isHeld && !backend.holds!(first, last + 1)) break;
      last++;
    }
    this.#ahead.fetched(last, Math.max(window, Math.min(backend.fetchedSize(first, last), MAX_RUN)));
    const loaded = backend.load(first, last);
    for (let number = first; number < last; number++) {
      if (!this.#isHere(number))
        this.#cache.announce(
          this.#firstKey + number,
          loaded.then((blocks) => blocks[number - first]!),
        );
    }
    return last;
  }

  /** Whether a fetch may go on up to block `last` (exclusive) beyond what is wanted. */
  #isAhead({ first, last }: Run, window: number, group: Run | undefined): boolean {
    if (this.#fits(first, last, window)) return true;
    if (group !== undefined && last <= group.last) return this.#fits(first, last, MAX_RUN);
    const { front } = this.#backend;
    // A start reads on there.
    if (front === undefined || front.start + this.#backend.fetchedSize(0, last) > front.end) return false;
    return this.#fits(first, last, MAX_RUN);
  }

  /** The block of a group to fetch first where `wanted` is: the first that is missing before it, if all goes into one request. */
  #startOfGroup(group: Run, wanted: number): number {
    let first = wanted;
    while (first > group.first && !this.#isHere(first - 1)) first--;
    return this.#fits(this.#backend.entryTo(first), group.last, MAX_RUN) ? first : wanted;
  }

  /** Where to begin a fetch for block `wanted`: at the first block of those decoded on the way that is not here yet. */
  #beginFor(wanted: number): number {
    let first = Math.max(this.#backend.entryTo(wanted), wanted - MOST_BEFORE);
    while (first < wanted && this.#isHere(first)) first++;
    return first;
  }

  #fits(first: number, last: number, bytes: number): boolean {
    const loaded = this.#backend.startOf(last) - this.#backend.startOf(first);
    return loaded <= MAX_LOADED && this.#backend.fetchedSize(first, last) <= bytes;
  }

  #isHere(number: number): boolean {
    return this.#cache.has(this.#firstKey + number);
  }
}

/** The blocks of some parts of a file, those that are near each other as one. */
function joinedRuns(backend: BlockBackend, parts: readonly FilePart[]): Run[] {
  const runs: Run[] = [];
  for (const { offset, length } of parts) {
    const [first, last] = [backend.blockAt(offset), backend.blockAt(offset + length - 1) + 1];
    const before = runs.at(-1);
    const isNear =
      before !== undefined && (first <= before.last || backend.fetchedSize(before.last, first) <= STARTUP_GAP);
    if (isNear) runs[runs.length - 1] = { first: before.first, last: Math.max(before.last, last) };
    else runs.push({ first, last });
  }
  return runs;
}
