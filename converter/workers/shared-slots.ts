/** Shared memory in pieces that one thread fills and others read: nothing is copied into messages, and nothing grows. */

/** `count` slots of `size` bytes, and for each the number of readers that have not let go of it; plain data for messages. */
export interface SharedSlots {
  readonly bytes: SharedArrayBuffer;
  readonly readers: SharedArrayBuffer;
  readonly count: number;
  readonly size: number;
}

/** Makes free slots. */
export function makeSlots(count: number, size: number): SharedSlots {
  return {
    bytes: new SharedArrayBuffer(count * size),
    readers: new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT),
    count,
    size,
  };
}

/** One thread's view of {@link SharedSlots}. The writer takes the slots in turn. */
export class SlotRing {
  readonly size: number;
  readonly #count: number;
  readonly #bytes: Uint8Array;
  readonly #readers: Int32Array;
  /** The slot that the writer fills next. */
  #next = 0;

  constructor(slots: SharedSlots) {
    this.size = slots.size;
    this.#count = slots.count;
    this.#bytes = new Uint8Array(slots.bytes);
    this.#readers = new Int32Array(slots.readers);
  }

  /** Whether the next slot is free. */
  get isFree(): boolean {
    return Atomics.load(this.#readers, this.#next) === 0;
  }

  /** Blocks the thread until the next slot is free. Not for the main thread. */
  waitUntilFree(): void {
    for (;;) {
      const readers = Atomics.load(this.#readers, this.#next);
      if (readers === 0) return;
      Atomics.wait(this.#readers, this.#next, readers);
    }
  }

  /** The next slot's memory, for the writer. */
  get free(): Uint8Array {
    return this.#bytes.subarray(this.#next * this.size, (this.#next + 1) * this.size);
  }

  /** Hands the next slot to `readers` readers and returns its number. */
  publish(readers: number): number {
    const slot = this.#next;
    Atomics.store(this.#readers, slot, readers);
    this.#next = (slot + 1) % this.#count;
    return slot;
  }

  /** The first `length` bytes of a slot, for a reader, until it lets go. */
  read(slot: number, length: number): Uint8Array {
    return this.#bytes.subarray(slot * this.size, slot * this.size + length);
  }

  /** A reader lets go of a slot. */
  release(slot: number): void {
    if (Atomics.sub(this.#readers, slot, 1) === 1) Atomics.notify(this.#readers, slot);
  }
}
