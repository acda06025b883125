/**
 * Memory for batches of blocks on their way to the output, used again for as long as the pool lives: fresh buffers for
 * every batch, or every layer, would wait for V8's collector by the hundred megabytes.
 */
import type { KernelMemory } from '../kernels/instance.ts';
import { type Lz4Slot, lz4Slot, makeLz4Memory } from '../kernels/lz4.ts';
import type { CompressedBatch } from './writer.ts';

/** Where a batch is: plain data for messages, in which the memory stays the same memory. */
export interface BatchRef {
  readonly memory: KernelMemory;
  /** The number of the memory in its pool: in messages objects lose their identity. */
  readonly memoryId: number;
  readonly slot: number;
}

/** Batches in one memory; what none was put into takes no room. */
const SLOTS = 16;

/** A batch: room for what goes in and what comes out. */
export class PooledBatch implements BatchRef {
  readonly memory: KernelMemory;
  readonly memoryId: number;
  readonly slot: number;
  /** Room for 1 MiB. */
  readonly input: Uint8Array;
  readonly #output: Uint8Array;
  readonly #lengths: Uint32Array;

  constructor({ memory, memoryId, slot }: BatchRef, { input, output, lengths }: Lz4Slot) {
    this.memory = memory;
    this.memoryId = memoryId;
    this.slot = slot;
    this.input = input;
    this.#output = output;
    this.#lengths = lengths;
  }

  /** The compressed form of the first `length` bytes in blocks of `blockSize`: `size` bytes of output. */
  result(size: number, length: number, blockSize: number): CompressedBatch {
    return {
      bytes: this.#output.subarray(0, size),
      lengths: this.#lengths.subarray(0, Math.ceil(length / blockSize)),
    };
  }
}

/** Batches for one thread that compresses. The one that was given back last is taken first. */
export class BatchPool {
  readonly #free: PooledBatch[] = [];
  #memories = 0;
  #taken = 0;

  /** Batches that were taken and not given back. */
  get taken(): number {
    return this.#taken;
  }

  /** A batch, with whatever its last user left in it. */
  take(): PooledBatch {
    if (this.#free.length === 0) this.#grow();
    this.#taken++;
    return this.#free.pop()!;
  }

  /** Gives a batch back. */
  give(batch: PooledBatch): void {
    this.#taken--;
    this.#free.push(batch);
  }

  #grow(): void {
    const memory = makeLz4Memory(SLOTS);
    const memoryId = this.#memories++;
    for (let slot = SLOTS - 1; slot >= 0; slot--)
      this.#free.push(new PooledBatch({ memory, memoryId, slot }, lz4Slot(memory, slot)));
  }
}
