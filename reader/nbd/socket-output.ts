/** Writes a connection message by message, no faster than the other side takes them. */
import type { Writable } from 'node:stream';
import { AccelError } from '../../base/error.ts';

/** The sending half of a connection. One message at a time is on its way, so that the stream's buffer stays small. */
export class ByteOutput {
  readonly #stream: Writable;
  #last: Promise<void> = Promise.resolve();

  constructor(stream: Writable) {
    this.#stream = stream;
    // Each send looks after its own failure; a connection that breaks while nobody sends is its reader's to notice.
    stream.on('error', () => undefined);
  }

  /**
   * Sends the parts as one message, after those that were given before; resolves when the connection can take more.
   * Rejects with `io-error` once the connection is gone. The parts must not change until then.
   */
  send(...parts: readonly Uint8Array[]): Promise<void> {
    const sent = this.#last.then(() => this.#write(parts));
    // A message that failed does not keep the next from failing by itself.
    this.#last = sent.catch(() => undefined);
    return sent;
  }

  /** Ends the connection; what waits to be sent fails. */
  destroy(): void {
    this.#stream.destroy();
  }

  async #write(parts: readonly Uint8Array[]): Promise<void> {
    const stream = this.#stream;
    if (!stream.writable) throw gone();
    stream.cork();
    let ready = true;
    for (const part of parts) ready = stream.write(part);
    stream.uncork();
    if (ready && !stream.writableNeedDrain) return;
    await new Promise<void>((resolve, reject) => {
      const settle = () => {
        stream.off('drain', settle);
        stream.off('close', settle);
        if (stream.writable) resolve();
        else reject(gone());
      };
      stream.on('drain', settle);
      stream.on('close', settle);
    });
  }
}

function gone(): AccelError {
  return new AccelError('io-error', 'the client has gone away');
}
