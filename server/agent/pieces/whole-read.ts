/**
 * Reads a blob from start to end for an origin that does not know ranges, once for all who want pieces of it. It stays a
 * bounded distance ahead of the furthest piece that is wanted, and ends when nobody wants more.
 */
import { pieceBytes, pieceCount } from '../../../formats/piece-list/piece-list.ts';
import { OriginFailure } from './origin-failure.ts';
import type { PieceId } from './piece.ts';

/** Pieces read beyond the furthest that is wanted. */
const AHEAD = 8;
/** Milliseconds without anybody who wants more after which the read ends. */
const IDLE = 10_000;

interface Waiter {
  readonly resolve: (bytes: Buffer) => void;
  readonly reject: (reason: unknown) => void;
}

/** Where the bytes come from, and where each piece goes. */
export interface WholeReadOptions {
  readonly digest: string;
  /** Bytes of the blob. */
  readonly size: number;
  /** The body of the origin's answer. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Takes the pieces that nobody waits for. */
  readonly onOther: (id: PieceId, bytes: Buffer) => void;
}

/** See the head of the file. */
export class WholeRead {
  readonly #o: WholeReadOptions;
  readonly #waiters = new Map<number, Waiter[]>();
  /** The piece that is being read. */
  #at = 0;
  #furthest = 0;
  #wake: () => void = () => undefined;
  #ended: Promise<void> | undefined;

  constructor(options: WholeReadOptions) {
    this.#o = options;
  }

  /** Resolves when the read has ended, however. */
  get ended(): Promise<void> {
    this.#ended ??= this.#run();
    return this.#ended;
  }

  /** A piece; undefined where the read has passed it. Throws {@link OriginFailure}. */
  piece(index: number): Promise<Buffer | undefined> {
    if (index < this.#at) return Promise.resolve(undefined);
    const result = new Promise<Buffer>((resolve, reject) => {
      this.#waiters.set(index, [...(this.#waiters.get(index) ?? []), { resolve, reject }]);
    });
    this.#furthest = Math.max(this.#furthest, index);
    this.#wake();
    void this.ended;
    return result;
  }

  async #run(): Promise<void> {
    let failure: unknown = new OriginFailure(0, 'the origin ended within the blob');
    try {
      await this.#read();
    } catch (error) {
      failure = error;
    }
    this.#at = Number.POSITIVE_INFINITY;
    for (const waiters of this.#waiters.values()) for (const { reject } of waiters) reject(failure);
    this.#waiters.clear();
  }

  async #read(): Promise<void> {
    const { size, body } = this.#o;
    let filled = 0;
    let current = Buffer.allocUnsafeSlow(Math.max(0, pieceBytes(size, 0)));
    for await (let chunk of body) {
      while (chunk.length > 0) {
        if (current.length === 0) throw new OriginFailure(502, 'the origin sends more than the blob holds');
        const part = chunk.subarray(0, current.length - filled);
        current.set(part, filled);
        filled += part.length;
        chunk = chunk.subarray(part.length);
        if (filled < current.length) continue;
        this.#deliver(current);
        filled = 0;
        current = Buffer.allocUnsafeSlow(Math.max(0, pieceBytes(size, this.#at)));
        if (!(await this.#isWanted())) return;
      }
    }
    if (this.#at < pieceCount(size)) throw new OriginFailure(0, 'the origin ended within the blob');
  }

  #deliver(bytes: Buffer): void {
    const index = this.#at;
    const waiters = this.#waiters.get(index);
    this.#waiters.delete(index);
    this.#at += 1;
    if (waiters === undefined) this.#o.onOther({ digest: this.#o.digest, index }, bytes);
    else for (const { resolve } of waiters) resolve(bytes);
  }

  /** Waits while the read is far enough ahead; false when nobody wanted more for a while. */
  async #isWanted(): Promise<boolean> {
    if (this.#at <= this.#furthest + AHEAD) return true;
    let timer: NodeJS.Timeout | undefined;
    const woken = await Promise.race([
      new Promise<boolean>((resolve) => {
        this.#wake = () => resolve(true);
      }),
      new Promise<boolean>((resolve) => {
        timer = setTimeout(() => resolve(false), IDLE);
        timer.unref();
      }),
    ]);
    clearTimeout(timer);
    return woken;
  }
}
