/** Shared memory in pieces that one thread fills and others read: messages copy nothing, and the memory does not grow. */

/** Counts the readers of each piece; shared by all threads. */
export class Holds {
  /** The counts, to pass to another thread and to the constructor there. */
  readonly counts: SharedArrayBuffer;
  readonly #counts: Int32Array;

  constructor(counts: SharedArrayBuffer) {
    this.counts = counts;
    this.#counts = new Int32Array(counts);
  }

  /** For `pieces` free pieces. */
  static of(pieces: number): Holds {
    return new Holds(new SharedArrayBuffer(pieces * Int32Array.BYTES_PER_ELEMENT));
  }

  /** Whether a piece has no reader. */
  isFree(piece: number): boolean {
    return Atomics.load(this.#counts, piece) === 0;
  }

  /** Blocks the thread until a piece has no reader. Not for the main thread. */
  waitUntilFree(piece: number): void {
    for (;;) {
      const readers = Atomics.load(this.#counts, piece);
      if (readers === 0) return;
      Atomics.wait(this.#counts, piece, readers);
    }
  }

  /** Adds `readers` readers; called by the writer for a piece or a part of it. */
  add(piece: number, readers: number): void {
    Atomics.add(this.#counts, piece, readers);
  }

  /** Removes a reader; called by the reader once for each time that it was added. */
  release(piece: number): void {
    if (Atomics.sub(this.#counts, piece, 1) === 1) Atomics.notify(this.#counts, piece);
  }
}

/** `count` slots of `size` bytes from byte `start` of a shared memory, with their reader counts; plain data for messages. */
export interface SharedSlots {
  readonly memory: SharedArrayBuffer;
  readonly start: number;
  readonly count: number;
  readonly size: number;
  /** Of {@link Holds}. */
  readonly counts: SharedArrayBuffer;
}

/** One thread's view of {@link SharedSlots}. The writer takes the slots in turn. */
export class SlotRing {
  readonly size: number;
  readonly #slots: SharedSlots;
  readonly #holds: Holds;
  /** The slot that the writer fills next. */
  #next = 0;

  constructor(slots: SharedSlots) {
    this.size = slots.size;
    this.#slots = slots;
    this.#holds = new Holds(slots.counts);
  }

  /** Whether the next slot is free. */
  get isFree(): boolean {
    return this.#holds.isFree(this.#next);
  }

  /** Writes `bytes` to the next slot, which must be free, for one reader; returns its number. */
  publish(bytes: Uint8Array): number {
    const slot = this.#next;
    this.read(slot, bytes.length).set(bytes);
    this.#holds.add(slot, 1);
    this.#next = (slot + 1) % this.#slots.count;
    return slot;
  }

  /** The first `length` bytes of a slot, valid until its reader releases it. */
  read(slot: number, length: number): Uint8Array {
    return new Uint8Array(this.#slots.memory, this.#slots.start + slot * this.size, length);
  }

  /** Releases a slot; called by its reader. */
  release(slot: number): void {
    this.#holds.release(slot);
  }
}
