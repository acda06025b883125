/**
 * Decompresses gzip on a thread of its own, with a companion that hashes the output and packs the windows of the access
 * points meanwhile. Bytes go both ways in shared memory.
 */
import { MessageChannel, type Worker } from 'node:worker_threads';
import type { AccelError } from '../../base/error.ts';
import type { GzipStreamOptions, GzipSummary } from '../../formats/gzip/stream.ts';
import {
  type CompanionReply,
  fromPlain,
  type GunzipReply,
  type GunzipRequest,
  type PlainError,
  threadDied,
  type WorkerRole,
} from './messages.ts';
import { makeSlots, SlotRing } from './shared-slots.ts';

/** How a gzip stream is to be read; see {@link GzipStreamOptions}. */
export type GunzipOptions = Pick<GzipStreamOptions, 'members'> & { readonly span: number | undefined };

/** What a whole gzip stream was. */
export interface GunzipResult {
  readonly gzip: GzipSummary;
  /** SHA-256 of the output, as a digest. */
  readonly digest: string;
}

/** Starts a worker; the ports in its role are handed over to it. */
export type WorkerStarter = (role: WorkerRole) => Worker;

/** Input that may wait for the thread, and output that may wait for its readers. */
const INPUT = { count: 8, size: 1 << 19 };
const OUTPUT = { count: 8, size: 1 << 20 };
/** Readers of the output: the caller and the companion. */
export const OUTPUT_READERS = 2;

type Reply = GunzipReply | CompanionReply | { readonly type: 'error'; readonly error: PlainError };

/** A thread that reads one gzip stream at a time, and its companion. */
export class GunzipThread {
  readonly #worker: Worker;
  readonly #companion: Worker;
  readonly #input: SlotRing;
  readonly #output: SlotRing;
  /** Bytes in the input slot that is being filled. */
  #filled = 0;
  /** Output that came and was not looked at yet. */
  #inbox: { readonly slot: number; readonly length: number }[] = [];
  #summary: GzipSummary | undefined;
  #accompanied: CompanionReply | undefined;
  #failure: AccelError | undefined;
  /** Those that wait for news: the side that feeds and the side that reads. */
  #waiting: (() => void)[] = [];

  constructor(start: WorkerStarter) {
    const input = makeSlots(INPUT.count, INPUT.size);
    const output = makeSlots(OUTPUT.count, OUTPUT.size);
    this.#input = new SlotRing(input);
    this.#output = new SlotRing(output);
    const { port1, port2 } = new MessageChannel();
    this.#worker = start({ role: 'gunzip', input, output, companion: port1 });
    this.#companion = start({ role: 'companion', output, gunzip: port2 });
    for (const worker of [this.#worker, this.#companion]) {
      worker.on('message', (reply: Reply) => this.#take(reply));
      for (const event of ['error', 'exit']) worker.on(event, (cause: unknown) => this.#fail(threadDied(cause)));
    }
  }

  /** The output of `source`, in pieces that are valid until the next is asked for. */
  async *run(source: AsyncIterable<Uint8Array>, options: GunzipOptions): AsyncGenerator<Uint8Array, GunzipResult> {
    this.#hold(true);
    this.#summary = undefined;
    this.#accompanied = undefined;
    this.#say({ type: 'begin', span: options.span, members: options.members });
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
          yield this.#output.read(piece.slot, piece.length);
          this.#output.release(piece.slot);
        } else if (this.#summary !== undefined && this.#accompanied !== undefined) {
          await feeding;
          return resultOf(this.#summary, this.#accompanied);
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
      this.#hold(false);
    }
  }

  /** Copies the source into the input slots as they become free. */
  async #feed(source: AsyncIterable<Uint8Array>, isAbandoned: () => boolean): Promise<void> {
    const isOver = (): boolean => this.#failure !== undefined || isAbandoned();
    for await (const bytes of source) {
      for (let from = 0; from < bytes.length; ) {
        while (!this.#input.isFree && !isOver()) await this.#news();
        if (isOver()) return;
        const piece = bytes.subarray(from, from + INPUT.size - this.#filled);
        this.#input.free.set(piece, this.#filled);
        this.#filled += piece.length;
        from += piece.length;
        if (this.#filled === INPUT.size) this.#send();
      }
    }
    if (this.#filled > 0) this.#send();
    this.#say({ type: 'end' });
  }

  #send(): void {
    const length = this.#filled;
    this.#filled = 0;
    this.#say({ type: 'input', slot: this.#input.publish(1), length });
  }

  #take(reply: Reply): void {
    if (reply.type === 'output') this.#inbox.push(reply);
    else if (reply.type === 'end') this.#summary = reply.summary;
    else if (reply.type === 'accompanied') this.#accompanied = reply;
    else if (reply.type === 'error') this.#failure ??= fromPlain(reply.error);
    this.#wakeAll();
  }

  #fail(error: AccelError): void {
    this.#failure ??= error;
    this.#wakeAll();
  }

  /** While a stream is read its threads keep the process alive. */
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

/** Puts the windows that the companion packed into the access points. */
function resultOf(gzip: GzipSummary, { digest, windows }: CompanionReply): GunzipResult {
  // A second member made the points worthless, and the windows that were packed by then with them.
  return { gzip: { ...gzip, points: gzip.points.map((point, i) => ({ ...point, window: windows[i]! })) }, digest };
}
