/**
 * The memory of pieces, used again and again. Buffers that come and go would make V8 mark its whole heap for each 64 MB of them,
 * and the system clear each page again. A buffer is given out again only when all who hold it have let go of it; one that
 * somebody forgets to let go of is collected as any other.
 */
import { PIECE_BYTES } from '../../../formats/piece-list/piece-list.ts';

/** Buffers alive at most, which V8 does not count: past them it counts, and collects what is not held. */
const MOST_ALIVE = 192;
/** Buffers that wait to be used again. */
const MOST_FREE = 16;

/** Lets go of memory; further calls do nothing. */
export type LetGo = () => void;

interface Lease {
  readonly memory: SharedArrayBuffer;
  holds: number;
}

/** See the head of the file. Bytes of any other length than a whole piece's are memory of their own, which nothing has to let go of. */
export class PieceMemory {
  readonly #free: SharedArrayBuffer[] = [];
  readonly #leases = new WeakMap<ArrayBufferLike, Lease>();
  readonly #holds = new WeakMap<object, LetGo>();
  #alive = 0;
  readonly #collected = new FinalizationRegistry(() => {
    this.#alive -= 1;
  });

  /** Buffers that wait to be used again. */
  get free(): number {
    return this.#free.length;
  }

  /** Memory of so many bytes, with whatever is in it. It is held until {@link letGo} is called with this very buffer. */
  take(length: number): Buffer {
    if (length !== PIECE_BYTES) return Buffer.allocUnsafeSlow(length);
    const memory = this.#free.pop() ?? this.#allocate();
    if (memory === undefined) return Buffer.allocUnsafeSlow(length);
    this.#leases.set(memory, { memory, holds: 0 });
    const bytes = Buffer.from(memory);
    this.#holds.set(bytes, this.hold(bytes));
    return bytes;
  }

  /** Holds the memory of bytes that somebody holds now. */
  hold({ buffer }: Buffer): LetGo {
    const lease = this.#leases.get(buffer);
    if (lease === undefined) return nothing;
    let held = true;
    lease.holds += 1;
    return () => {
      if (!held) return;
      held = false;
      lease.holds -= 1;
      if (lease.holds === 0) this.#takeBack(lease);
    };
  }

  /** A record of a piece that holds its memory until {@link letGo} is called with this very record. */
  share<P extends { readonly bytes: Buffer }>(piece: P): P {
    const record = { ...piece };
    this.#holds.set(record, this.hold(piece.bytes));
    return record;
  }

  /** A record of a piece that holds its memory in the place of the buffer that {@link take} returned. */
  pass<P extends { readonly bytes: Buffer }>(piece: P): P {
    const record = this.share(piece);
    this.letGo(piece.bytes);
    return record;
  }

  /** Lets go of what {@link take}, {@link share} or {@link pass} returned. Anything else, and a second call, does nothing. */
  letGo(holder: object): void {
    this.#holds.get(holder)?.();
  }

  #allocate(): SharedArrayBuffer | undefined {
    if (this.#alive >= MOST_ALIVE) return undefined;
    const memory = new SharedArrayBuffer(PIECE_BYTES);
    this.#alive += 1;
    this.#collected.register(memory, undefined);
    return memory;
  }

  #takeBack({ memory }: Lease): void {
    this.#leases.delete(memory);
    if (this.#free.length < MOST_FREE) this.#free.push(memory);
  }
}

function nothing(): void {
  // Memory of its own is collected when nothing refers to it.
}

/** The memory of all pieces of this process. */
export const PIECE_MEMORY = new PieceMemory();
