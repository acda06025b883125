/** Reads a connection in pieces of known size, never more than is asked for. */
import type { Readable } from 'node:stream';
import { AccelError } from '../../base/error.ts';

/** Bytes that are let go of at a time by {@link ByteInput.skip}. */
const SKIP_STEP = 65_536;

/** The receiving half of a connection; one reader at a time. */
export class ByteInput {
  readonly #stream: Readable;
  #wake: (() => void) | undefined;
  #failure: unknown;
  #over = false;
  #stopped = false;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on('readable', () => this.#wake?.());
    stream.on('end', () => this.#finish());
    stream.on('close', () => this.#finish());
    stream.on('error', (error) => {
      this.#failure ??= error;
      this.#finish();
    });
  }

  /**
   * The next `length` bytes (at least 1), or undefined when the other side ended the connection before the first of them.
   * Rejects with the connection's error, and with `io-error` when it ended inside of them.
   */
  async read(length: number): Promise<Buffer | undefined> {
    for (;;) {
      if (this.#stopped) return undefined;
      const chunk = this.#stream.read(length) as Buffer | null;
      if (chunk !== null && chunk.length === length) return chunk;
      // At the end of a stream read() gives what is left, however short.
      if (chunk !== null) throw cutShort(length, chunk.length);
      if (this.#over) {
        if (this.#failure !== undefined) throw this.#failure;
        return undefined;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  /** The next `length` bytes; rejects with `io-error` when the connection ends before them. */
  async readAll(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    const chunk = await this.read(length);
    if (chunk === undefined) throw cutShort(length, 0);
    return chunk;
  }

  /** Lets `length` bytes go by. */
  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; left -= SKIP_STEP) await this.readAll(Math.min(left, SKIP_STEP));
  }

  /** Makes a read that waits, and every later one, end as if the other side had ended the connection. */
  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  #finish(): void {
    this.#over = true;
    this.#wake?.();
  }
}

function cutShort(expected: number, found: number): AccelError {
  return new AccelError('io-error', 'the client ended the connection inside of a message', {
    expected: `${expected} bytes`,
    found,
  });
}
