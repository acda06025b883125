/**
 * Decompresses gzip or zstd in a thread of its own, while a companion hashes the output, verifies gzip's checksums and packs
 * the windows of the access points. Both read the output in the memory that the thread wrote it to.
 */
import { MessageChannel, type Worker } from 'node:worker_threads';
import type { AccelError } from '../../../base/error.ts';
import type { GzipStreamOptions, GzipSummary } from '../../../formats/gzip/stream.ts';
import { inflateRoom, makeInflateMemory } from '../../../formats/kernels/inflate.ts';
import { Holds, type SharedSlots, SlotRing } from './shared-slots.ts';
import {
  type Accompanied,
  type CompanionReply,
  fromPlain,
  type GunzipReply,
  type GunzipRequest,
  type OutputPlace,
  threadDied,
  type WorkerRole,
} from './worker-messages.ts';

/** Options of a gzip stream; see {@link GzipStreamOptions}. */
export type GunzipOptions = Pick<GzipStreamOptions, 'members'> & {
  readonly span: number | undefined;
  /** Bytes of the stream, as far as they are known before it is read. */
  readonly size: number;
};

/** The compression of a stream, with the settings of its decompressor. */
export type StreamFormat = ({ readonly format: 'gzip' } & Omit<GunzipOptions, 'size'>) | { readonly format: 'zstd' };

/** Facts about a gzip stream that was read to its end. */
export interface GunzipResult extends StreamResult {
  readonly gzip: GzipSummary;
}

/** Facts about a stream that was read to its end. */
export interface StreamResult {
  /** Undefined for zstd. */
  readonly gzip: GzipSummary | undefined;
  /** SHA-256 of the output, as a digest. */
  readonly digest: string;
}

/** Starts a worker and transfers the ports in its role to it. */
export type WorkerStarter = (role: WorkerRole) => Worker;

/** Input that may wait for the thread. */
const INPUT = { count: 8, size: 1 << 19 };
/** Pieces of output, of 1 MiB each, that may wait to be read. */
export const OUTPUT_PIECES = 8;
/** Readers of the output: the caller and the companion. */
export const OUTPUT_READERS = 2;

type Reply = GunzipReply | CompanionReply;

/** A thread that reads one stream at a time, and its companion. */
export class GunzipThread {
  readonly #worker: Worker;
  readonly #companion: Worker;
  readonly #memory: SharedArrayBuffer;
  readonly #input: SlotRing;
  readonly #output: Holds;
  /** Input for the next slot, collected here because V8 copies pieces of arbitrary length slowly into shared memory. */
  readonly #gathered = new Uint8Array(INPUT.size);
  #filled = 0;
  /** Output that was received and not read yet. */
  #inbox: OutputPlace[] = [];
  #end: { readonly summary: GzipSummary | undefined } | undefined;
  #accompanied: Accompanied | undefined;
  #failure: AccelError | undefined;
  /** Callers that wait for a message: the feeding and the reading side. */
  #waiting: (() => void)[] = [];

  constructor(start: WorkerStarter) {
    const memory = makeInflateMemory(OUTPUT_PIECES, INPUT.count * INPUT.size);
    this.#memory = memory.buffer;
    const input: SharedSlots = {
      ...INPUT,
      memory: memory.buffer,
      start: inflateRoom(OUTPUT_PIECES),
      counts: Holds.of(INPUT.count).counts,
    };
    this.#input = new SlotRing(input);
    this.#output = Holds.of(OUTPUT_PIECES);
    const holds = this.#output.counts;
    const { port1, port2 } = new MessageChannel();
    this.#worker = start({ role: 'gunzip', memory, input, holds, companion: port1 });
    this.#companion = start({ role: 'companion', memory, holds, gunzip: port2 });
    for (const worker of [this.#worker, this.#companion]) {
      worker.on('message', (reply: Reply) => this.#take(reply));
      for (const event of ['error', 'exit']) worker.on(event, (cause: unknown) => this.#fail(threadDied(cause)));
    }
  }

  /** Yields the output of `source` in pieces that are valid until the next is requested. */
  async *run(source: AsyncIterable<Uint8Array>, format: StreamFormat): AsyncGenerator<Uint8Array, StreamResult> {
    this.#hold(true);
    this.#end = undefined;
    this.#accompanied = undefined;
    this.#say({ type: 'begin', ...format });
    let sourceFailure: { readonly error: unknown } | undefined;
    let abandoned = false;
    const feeding = this.#feed(source, () => abandoned).catch((error: unknown) => {
      sourceFailure = { error };
      this.#wakeAll();
    });
    try {
      for (;;) {
        const piece = this.#inbox.shift();
        if (piece !== undefined) {
          yield new Uint8Array(this.#memory, piece.start, piece.length);
          this.#output.release(piece.piece);
        } else if (sourceFailure !== undefined) {
          throw sourceFailure.error;
        } else if (this.#failure !== undefined) {
          // Before the result: a companion that found a wrong checksum continues to the end of the stream.
          throw this.#failure;
        } else {
          const result = this.#result();
          if (result === undefined) {
            await this.#news();
            continue;
          }
          await feeding;
          return result;
        }
      }
    } finally {
      abandoned = true;
      this.#wakeAll();
      this.#hold(false);
    }
  }

  /** Whether it can read another stream. */
  get isAlive(): boolean {
    return this.#failure === undefined;
  }

  /** The result, once both workers have given theirs. */
  #result(): StreamResult | undefined {
    if (this.#end === undefined || this.#accompanied === undefined) return undefined;
    return resultOf(this.#end.summary, this.#accompanied);
  }

  /** Ends both workers. */
  terminate(): void {
    for (const worker of [this.#worker, this.#companion]) void worker.terminate();
  }

  /** Copies the source into the input slots as they become free. */
  async #feed(source: AsyncIterable<Uint8Array>, isAbandoned: () => boolean): Promise<void> {
    const isOver = (): boolean => this.#failure !== undefined || isAbandoned();
    const send = async (): Promise<void> => {
      while (!this.#input.isFree && !isOver()) await this.#news();
      if (isOver()) return;
      const length = this.#filled;
      this.#filled = 0;
      this.#say({ type: 'input', slot: this.#input.publish(this.#gathered.subarray(0, length)), length });
    };
    this.#filled = 0;
    for await (const bytes of source) {
      for (let from = 0; from < bytes.length; ) {
        const piece = bytes.subarray(from, from + INPUT.size - this.#filled);
        this.#gathered.set(piece, this.#filled);
        this.#filled += piece.length;
        from += piece.length;
        if (this.#filled === INPUT.size) await send();
        if (isOver()) return;
      }
    }
    if (this.#filled > 0) await send();
    this.#say({ type: 'end' });
  }

  #take(reply: Reply): void {
    if (reply.type === 'output') this.#inbox.push(reply);
    else if (reply.type === 'end') this.#end = reply;
    else if (reply.type === 'accompanied') this.#accompanied = reply;
    else if (reply.type === 'error') this.#failure ??= fromPlain(reply.error);
    this.#wakeAll();
  }

  #fail(error: AccelError): void {
    this.#failure ??= error;
    this.#wakeAll();
  }

  /** Keeps the process alive while a stream is read. */
  #hold(busy: boolean): void {
    for (const worker of [this.#worker, this.#companion]) {
      if (busy) worker.ref();
      else worker.unref();
    }
  }

  #say(request: GunzipRequest): void {
    this.#worker.postMessage(request);
  }

  #news(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wakeAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }
}

/** Inserts the companion's packed windows into the access points. */
function resultOf(gzip: GzipSummary | undefined, { digest, windows }: Accompanied): StreamResult {
  if (gzip === undefined) return { gzip, digest };
  // A second member makes the points useless, and with them the windows packed before it.
  return { gzip: { ...gzip, points: gzip.points.map((point, i) => ({ ...point, window: windows[i]! })) }, digest };
}
