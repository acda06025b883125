/** Caches decompressed blocks by number: the most recently used ones, up to a number of bytes. */

/** Memory of a block beside its bytes: the array's object and its entry in the map. */
const OVERHEAD = 192;

/** A cache that all layers of an image share; one block is fetched once however many ask for it at a time. */
export class BlockCache {
  readonly #limit: number;
  /** Least recently used first. */
  readonly #ready = new Map<number, Uint8Array>();
  readonly #pending = new Map<number, Promise<Uint8Array>>();
  #bytes = 0;

  /** `limit`: bytes that the blocks may take. A block that is larger than that is not kept. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes that the blocks take now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The block if it is cached, or its promise if it is being fetched. */
  get(key: number): Uint8Array | Promise<Uint8Array> | undefined {
    const block = this.#ready.get(key);
    if (block === undefined) return this.#pending.get(key);
    this.#ready.delete(key);
    this.#ready.set(key, block);
    return block;
  }

  /** Whether the block is cached or being fetched. */
  has(key: number): boolean {
    return this.#ready.has(key) || this.#pending.has(key);
  }

  /** Registers a block that is being fetched. If that fails, the next reader may try again. */
  announce(key: number, arrival: Promise<Uint8Array>): void {
    this.#pending.set(key, arrival);
    arrival.then(
      (block) => {
        this.#pending.delete(key);
        this.#keep(key, block);
      },
      () => this.#pending.delete(key),
    );
  }

  #keep(key: number, block: Uint8Array): void {
    this.#ready.set(key, block);
    this.#bytes += block.length + OVERHEAD;
    for (const [oldest, { length }] of this.#ready) {
      if (this.#bytes <= this.#limit) return;
      this.#ready.delete(oldest);
      this.#bytes -= length + OVERHEAD;
    }
  }
}
