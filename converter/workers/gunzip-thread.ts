/** Decompresses gzip on a thread of its own: compressed chunks go there as messages, output comes back in shared memory. */
import type { Worker } from 'node:worker_threads';
import type { AccelError } from '../../base/error.ts';
import type { GzipStreamOptions, GzipSummary } from '../../formats/gzip/stream.ts';
import {
  fromPlain,
  type GunzipReply,
  type GunzipRequest,
  type SharedSlots,
  threadDied,
  type WorkerRole,
} from './messages.ts';

/** Output that may wait for the reader. */
const SLOTS = 8;
const SLOT_SIZE = 1 << 20;
/** Compressed chunks that may wait for the thread. */
const CHUNKS_AHEAD = 4;

/** How a gzip stream is to be read; see {@link GzipStreamOptions}. */
export type GunzipOptions = Pick<GzipStreamOptions, 'members'> & { readonly span: number | undefined };

/** A thread that reads one gzip stream at a time. */
export class GunzipThread {
  readonly #worker: Worker;
  readonly #slots: SharedSlots;
  readonly #flags: Int32Array;
  /** What came and was not looked at yet. */
  #inbox: GunzipReply[] = [];
  #ahead = 0;
  #failure: AccelError | undefined;
  /** Those that wait for news: the side that feeds and the side that reads. */
  #waiting: (() => void)[] = [];

  constructor(start: (role: WorkerRole) => Worker) {
    this.#slots = {
      bytes: new SharedArrayBuffer(SLOTS * SLOT_SIZE),
      flags: new SharedArrayBuffer(SLOTS * Int32Array.BYTES_PER_ELEMENT),
      count: SLOTS,
      size: SLOT_SIZE,
    };
    this.#flags = new Int32Array(this.#slots.flags);
    this.#worker = start({ role: 'gunzip', slots: this.#slots });
    this.#worker.on('message', (reply: GunzipReply) => {
      if (reply.type === 'taken') this.#ahead--;
      else if (reply.type === 'error') this.#failure ??= fromPlain(reply.error);
      else this.#inbox.push(reply);
      this.#wakeAll();
    });
    for (const event of ['error', 'exit']) {
      this.#worker.on(event, (cause: unknown) => {
        this.#failure ??= threadDied(cause);
        this.#wakeAll();
      });
    }
  }

  /** The output of `source`, in pieces that are valid until the next is asked for. */
  async *run(source: AsyncIterable<Uint8Array>, options: GunzipOptions): AsyncGenerator<Uint8Array, GzipSummary> {
    this.#worker.ref();
    this.#say({ type: 'begin', span: options.span, members: options.members });
    let sourceFailure: { readonly error: unknown } | undefined;
    let abandoned = false;
    const feeding = (async () => {
      for await (const bytes of source) {
        while (this.#ahead >= CHUNKS_AHEAD && this.#failure === undefined && !abandoned) await this.#news();
        if (this.#failure !== undefined || abandoned) return;
        this.#ahead++;
        this.#say({ type: 'chunk', bytes });
      }
      this.#say({ type: 'end' });
    })().catch((error: unknown) => {
      sourceFailure = { error };
      this.#wakeAll();
    });
    try {
      for (;;) {
        const reply = this.#inbox.shift();
        if (reply?.type === 'output') {
          yield new Uint8Array(this.#slots.bytes, reply.slot * SLOT_SIZE, reply.length);
          Atomics.store(this.#flags, reply.slot, 0);
          Atomics.notify(this.#flags, reply.slot);
        } else if (reply?.type === 'end') {
          await feeding;
          return reply.summary;
        } else if (sourceFailure !== undefined) {
          throw sourceFailure.error;
        } else if (this.#failure !== undefined) {
          throw this.#failure;
        } else {
          await this.#news();
        }
      }
    } finally {
      abandoned = true;
      this.#wakeAll();
      this.#worker.unref();
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
