/**
 * Threads that compress the blocks of ZFiles and hash the pieces of what comes of them. A batch belongs to one thread from the start: it is
 * filled in its memory.
 */
import { BatchPool } from '../../../formats/zfile/batches.ts';
import { assertBlockFormat, type BlockFormat } from '../../../formats/zfile/compressor.ts';
import type { BlockCompressor } from '../../../formats/zfile/writer.ts';
import type { FilePieces } from './file-pieces.ts';
import type { JobThread } from './job-thread.ts';

interface CompressThread {
  readonly jobs: JobThread;
  readonly batches: BatchPool;
}

/** Up to `size` threads compress; one more is started when all others are busy. */
export class CompressThreads {
  readonly #size: number;
  readonly #start: () => JobThread;
  #threads: CompressThread[] = [];
  #streams = 0;

  constructor(size: number, start: () => JobThread) {
    this.#size = size;
    this.#start = start;
  }

  /** Starts the first thread before there is a batch for it. */
  warmUp(): void {
    if (this.#threads.length === 0) this.#grow();
  }

  /** A compressor for any number of ZFiles at a time. Throws `usage` for an invalid block size. */
  compressor(format: BlockFormat): BlockCompressor {
    assertBlockFormat(format);
    return {
      take: () => {
        const { jobs, batches } = this.#leastBusy();
        const batch = batches.take();
        const { memory, memoryId, slot } = batch;
        return {
          input: batch.input,
          async compress(length) {
            const { size } = await jobs.run({ type: 'compress', memory, memoryId, slot, length, format });
            return batch.result(size, length, format.blockSize);
          },
          release: () => batches.give(batch),
        };
      },
    };
  }

  /** Hashes the pieces of a file while it is written, in one of the threads. */
  pieces(): FilePieces {
    const { jobs } = this.#leastBusy();
    const stream = this.#streams++;
    return {
      async update(bytes) {
        await jobs.run({ type: 'pieces', stream, bytes });
      },
      async finish(path) {
        return (await jobs.run({ type: 'piece-list', stream, path })).pieceList;
      },
    };
  }

  /** Deflates a part of an index-only layer's blob. */
  async deflate(bytes: Uint8Array): Promise<readonly Uint8Array[]> {
    // A message would copy the whole memory of a view twice, and this not at all.
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    return (await this.#leastBusy().jobs.run({ type: 'deflate', bytes: shared })).pieces;
  }

  /** A started thread without a batch, if there is one. */
  get idle(): JobThread | undefined {
    return this.#threads.find(({ jobs, batches }) => jobs.isAlive && batches.taken === 0)?.jobs;
  }

  #leastBusy(): CompressThread {
    if (!this.#threads.every(({ jobs }) => jobs.isAlive)) {
      this.#threads = this.#threads.filter(({ jobs }) => jobs.isAlive);
    }
    const [first, ...others] = this.#threads;
    if (first === undefined) return this.#grow();
    const least = others.reduce((a, b) => (b.batches.taken < a.batches.taken ? b : a), first);
    return least.batches.taken > 0 && this.#threads.length < this.#size ? this.#grow() : least;
  }

  #grow(): CompressThread {
    const thread = { jobs: this.#start(), batches: new BatchPool() };
    this.#threads.push(thread);
    return thread;
  }
}
