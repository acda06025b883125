/** Answers to requests, in the form that the client negotiated. */
import type { Extent } from '../device-extents.ts';
import { ALLOCATION_ID } from './negotiation.ts';
import {
  ALLOCATION_HOLE,
  CHUNK,
  CHUNK_DONE,
  chunkHeader,
  errorChunk,
  extentStatus,
  type NbdErrorNumber,
  offsetData,
  offsetHole,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
  simpleReply,
} from './protocol.ts';
import type { ByteOutput } from './socket-output.ts';

/** An error's text that is sent along; the protocol allows 4096 bytes of any string. */
const MAX_MESSAGE = 1024;

/** Sends the answer to one request, which its cookie names. */
export class Replies {
  readonly #output: ByteOutput;
  readonly #structured: boolean;
  readonly #cookie: Uint8Array;

  constructor(output: ByteOutput, structured: boolean, cookie: Uint8Array) {
    this.#output = output;
    this.#structured = structured;
    this.#cookie = cookie;
  }

  /** The end of a request that failed; `message` reaches the client only in structured answers. */
  error(error: NbdErrorNumber, message: string): Promise<void> {
    if (!this.#structured) return this.#simple(error);
    const text = Buffer.from(message.slice(0, MAX_MESSAGE)).subarray(0, MAX_MESSAGE);
    return this.#chunk(CHUNK.error, true, errorChunk.encode({ error, messageLength: text.length }), text);
  }

  /** All data of a read, and its end. */
  wholeRead(offset: number, data: Uint8Array): Promise<void> {
    if (!this.#structured) return this.#simple(0, data);
    return data.length === 0 ? this.#chunk(CHUNK.none, true) : this.data(offset, data, true);
  }

  /** Part of the data of a read; structured answers only. */
  data(offset: number, data: Uint8Array, last: boolean): Promise<void> {
    return this.#chunk(CHUNK.offsetData, last, offsetData.encode({ offset }), data);
  }

  /** Part of a read that is all zeros; structured answers only. */
  hole(offset: number, length: number, last: boolean): Promise<void> {
    return this.#chunk(CHUNK.offsetHole, last, offsetHole.encode({ offset, length }));
  }

  /** The extents of a block status, and the end of the answer; structured answers only. */
  blockStatus(extents: readonly Extent[]): Promise<void> {
    const payload = Buffer.alloc(4 + extents.length * extentStatus.size);
    payload.writeUInt32BE(ALLOCATION_ID);
    extents.forEach(({ length, hole }, i) => {
      extentStatus.write(payload, 4 + i * extentStatus.size, { length, state: hole ? ALLOCATION_HOLE : 0 });
    });
    return this.#chunk(CHUNK.blockStatus, true, payload);
  }

  #simple(error: number, data: Uint8Array = new Uint8Array(0)): Promise<void> {
    return this.#output.send(simpleReply.encode({ magic: SIMPLE_REPLY_MAGIC, error, cookie: this.#cookie }), data);
  }

  #chunk(type: number, last: boolean, ...payload: readonly Uint8Array[]): Promise<void> {
    const length = payload.reduce((sum, part) => sum + part.length, 0);
    const flags = last ? CHUNK_DONE : 0;
    const header = { magic: STRUCTURED_REPLY_MAGIC, flags, type, cookie: this.#cookie, length };
    return this.#output.send(chunkHeader.encode(header), ...payload);
  }
}
