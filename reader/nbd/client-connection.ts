/** Serves one client, from the negotiation to the end of its connection. */
import type { Socket } from 'node:net';
import { AccelError } from '../../base/error.ts';
import { type NbdExport, type NbdSession, negotiate } from './negotiation.ts';
import { ByteInput } from './socket-input.ts';
import { ByteOutput } from './socket-output.ts';
import { type ServedDevice, transmit } from './transmission.ts';

/** Milliseconds for the negotiation, so that an idle client does not occupy one of the connections. */
const NEGOTIATION_TIME = 30_000;

/** See the module's comment. */
export class ClientConnection {
  readonly #socket: Socket;
  readonly #input: ByteInput;
  readonly #output: ByteOutput;
  readonly #export: NbdExport;
  readonly #served: ServedDevice;

  constructor(socket: Socket, exported: NbdExport, served: ServedDevice) {
    this.#socket = socket;
    this.#input = new ByteInput(socket);
    this.#output = new ByteOutput(socket);
    this.#export = exported;
    this.#served = served;
  }

  /** Serves until one side ends it; rejects with `io-error` when the client broke the protocol or the connection. */
  async run(): Promise<void> {
    try {
      const session = await this.#negotiate();
      if (session !== undefined) await transmit(this.#input, this.#output, session, this.#served);
      // Sends what is buffered first; a client that does not read it occupies only its socket.
      this.#socket.destroySoon();
    } catch (error) {
      this.#socket.destroy();
      throw error;
    }
  }

  /** Accepts no more requests and lets those in progress finish. */
  finish(): void {
    this.#input.stop();
  }

  /** Closes the connection at once. */
  cut(): void {
    this.#socket.destroy();
  }

  async #negotiate(): Promise<NbdSession | undefined> {
    const late = () => this.#socket.destroy(new AccelError('io-error', 'the client took too long to negotiate'));
    const timer = setTimeout(late, NEGOTIATION_TIME);
    try {
      return await negotiate(this.#input, this.#output, this.#export);
    } finally {
      clearTimeout(timer);
    }
  }
}
