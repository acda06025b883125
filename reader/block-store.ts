/** Blocks of one file in a blob (a ZFile, a tar), fetched in few requests and kept in the image's cache. */
import type { BlockCache } from './block-cache.ts';
import { ReadAhead } from './read-ahead.ts';

/** Where blocks come from. Blocks are numbered from 0 and lie one after another in the blob. */
export interface BlockBackend {
  /** Number of blocks. */
  readonly count: number;
  /** Bytes of a block when it is in memory, all but the last. */
  readonly blockSize: number;
  /** Makes {@link BlockBackend.fetchedSize} possible for blocks `first` to `last` (exclusive). */
  locate(first: number, last: number): Promise<void>;
  /** The block up to which (exclusive) everything from block `i` on is located. */
  locatedFrom(i: number): number;
  /** Bytes that are fetched for the blocks `first` to `last` (exclusive). */
  fetchedSize(first: number, last: number): number;
  /** Fetches the blocks `first` to `last` (exclusive); each belongs to the caller. */
  load(first: number, last: number): Promise<Uint8Array[]>;
}

/** Fetched bytes between two wanted blocks that are fetched along rather than costing a request of their own. */
const MAX_GAP = 32_768;
/** Fetched bytes of one request. */
const MAX_RUN = 1 << 20;
/** Blocks of one cache key's range: a file has fewer, because an LSMT index counts sectors in 55 bits of 2^53 bytes. */
const KEYS_PER_STORE = 2 ** 40;

/** Blocks that are fetched together; `last` is exclusive. */
interface Run {
  readonly first: number;
  readonly last: number;
}

/** Part of a file that is wanted, and where it goes. */
export interface Piece {
  /** Byte of the file. */
  readonly offset: number;
  /** Filled with what is there. */
  readonly target: Uint8Array;
}

/** See the module's comment. Reads may overlap in time. */
export class BlockStore {
  readonly #backend: BlockBackend;
  readonly #cache: BlockCache;
  readonly #firstKey: number;
  readonly #ahead: ReadAhead;

  /** `number` tells the stores apart that share `cache`: 0 to 8191. */
  constructor(backend: BlockBackend, cache: BlockCache, number: number) {
    this.#backend = backend;
    this.#cache = cache;
    this.#firstKey = number * KEYS_PER_STORE;
    this.#ahead = new ReadAhead();
  }

  /** Fills every piece; all lie inside the file. */
  async fill(pieces: readonly Piece[]): Promise<void> {
    const { blockSize } = this.#backend;
    const numbers = new Set<number>();
    for (const { offset, target } of pieces) {
      const last = Math.ceil((offset + target.length) / blockSize);
      for (let i = Math.floor(offset / blockSize); i < last; i++) numbers.add(i);
    }
    const blocks = await this.#get([...numbers].sort((a, b) => a - b));
    for (const { offset, target } of pieces) {
      for (let done = 0; done < target.length; ) {
        const at = offset + done;
        const number = Math.floor(at / blockSize);
        const skip = at - number * blockSize;
        const part = blocks.get(number)!.subarray(skip, skip + target.length - done);
        target.set(part, done);
        done += part.length;
      }
    }
  }

  /** The blocks of ascending, distinct numbers. */
  async #get(numbers: readonly number[]): Promise<Map<number, Uint8Array>> {
    const blocks = new Map<number, Uint8Array>();
    if (numbers.length === 0) return blocks;
    if (numbers.some((number) => !this.#cache.has(this.#firstKey + number)))
      await this.#backend.locate(numbers[0]!, numbers.at(-1)! + 1);
    // From here to the last announcement nothing else runs, so that no two readers fetch the same block.
    const arrivals = new Map<number, Promise<Uint8Array>>();
    const missing: number[] = [];
    for (const number of numbers) {
      const known = this.#cache.get(this.#firstKey + number);
      if (known === undefined) missing.push(number);
      else if (known instanceof Uint8Array) blocks.set(number, known);
      else arrivals.set(number, known);
    }
    for (const run of this.#runs(missing)) this.#start(run, numbers, arrivals);
    await Promise.all(Array.from(arrivals, async ([number, arrival]) => blocks.set(number, await arrival)));
    return blocks;
  }
}
