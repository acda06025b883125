/** One client from its first byte to its last. */
import type { Socket } from 'node:net';
import { AccelError } from '../../base/error.ts';
import type { BlockDevice } from '../../formats/ext4/reader.ts';
import type { MappedDevice } from '../block-device.ts';
import { type NbdExport, type NbdSession, negotiate } from './negotiation.ts';
import { ByteInput } from './socket-input.ts';
import { ByteOutput } from './socket-output.ts';
import { type ReadErrorListener, transmit } from './transmission.ts';

/** Milliseconds in which a client must have negotiated: a place among the connections is not for nothing. */
const NEGOTIATION_TIME = 30_000;

/** See the module's comment. */
export class Connection {
  readonly #socket: Socket;
  readonly #input: ByteInput;
  readonly #output: ByteOutput;
  readonly #device: BlockDevice | MappedDevice;
  readonly #served: NbdExport;
  readonly #onReadError: ReadErrorListener;

  constructor(socket: Socket, device: BlockDevice | MappedDevice, served: NbdExport, onReadError: ReadErrorListener) {
    this.#socket = socket;
    this.#input = new ByteInput(socket);
    this.#output = new ByteOutput(socket);
    this.#device = device;
    this.#served = served;
    this.#onReadError = onReadError;
  }

  /** Serves until one side ends it; rejects with `io-error` when the client broke the protocol or the connection. */
  async run(): Promise<void> {
    try {
      const session = await this.#negotiate();
      if (session !== undefined) await transmit(this.#input, this.#output, session, this.#device, this.#onReadError);
      // What was sent goes out first; a client that does not read it holds nothing but its socket.
      this.#socket.destroySoon();
    } catch (error) {
      this.#socket.destroy();
      throw error;
    }
  }

  /** Takes no more requests and lets those under way end. */
  finish(): void {
    this.#input.stop();
  }

  /** Ends it now. */
  cut(): void {
    this.#socket.destroy();
  }

  async #negotiate(): Promise<NbdSession | undefined> {
    const late = () => this.#socket.destroy(new AccelError('io-error', 'the client took too long to negotiate'));
    const timer = setTimeout(late, NEGOTIATION_TIME);
    try {
      return await negotiate(this.#input, this.#output, this.#served);
    } finally {
      clearTimeout(timer);
    }
  }
}
