/**
 * Reads the answers of another agent from the bytes of a connection: the part of HTTP/1.1 that agents speak among themselves,
 * straight into memory of the announced size. The general parser of node:http costs more processor time than decrypting.
 */

import { PIECE_MEMORY } from '../pieces/piece-memory.ts';

/** Largest head of an answer, in bytes. */
const MAX_HEAD = 32 * 1024;
const END_OF_HEAD = '\r\n\r\n';

/** An answer. Header names are in lower case. The body is of {@link PIECE_MEMORY}, which its reader lets go of. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
}

/** A whole answer, and whether the connection may carry another request. */
export interface ReadAnswer {
  readonly answer: Answer;
  readonly reusable: boolean;
}

/** An answer that is malformed, too long or followed by bytes that nobody asked for; the message says which. */
export class MalformedAnswer extends Error {
  override readonly name = 'MalformedAnswer';
}

interface Head {
  readonly status: number;
  readonly headers: Record<string, string | undefined>;
}

/** Reads one answer of at most `limit` bytes; `alive` is called for each informational answer and each part of a body, with the bytes of it that are here. */
export class AnswerReader {
  readonly #limit: number;
  readonly #alive: (filled: number) => void;
  /** Bytes of a head that has not come in full. */
  #pending: Buffer = Buffer.alloc(0);
  #head: Head | undefined;
  #body: Buffer = Buffer.alloc(0);
  #filled = 0;

  constructor(limit: number, alive: (filled: number) => void) {
    this.#limit = limit;
    this.#alive = alive;
  }

  /**
   * Takes in bytes, which are copied: the answer when it is whole. Throws {@link MalformedAnswer}.
   */
  take(bytes: Buffer): ReadAnswer | undefined {
    let rest = bytes;
    if (this.#head === undefined) {
      rest = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
      for (;;) {
        const end = rest.indexOf(END_OF_HEAD, 0, 'latin1');
        if (end > MAX_HEAD || (end < 0 && rest.length > MAX_HEAD)) throw new MalformedAnswer('its head is too long');
        if (end < 0) {
          this.#pending = Buffer.from(rest);
          return undefined;
        }
        const head = parseHead(rest.toString('latin1', 0, end));
        rest = rest.subarray(end + END_OF_HEAD.length);
        this.#alive(0);
        if (head.status >= 200) {
          const unread = this.#begin(head);
          if (unread !== undefined) return unread;
          break;
        }
      }
    }
    return this.#fill(rest);
  }

  /** Makes room for the body; the answer without it where its length is not known or beyond the limit. */
  #begin(head: Head): ReadAnswer | undefined {
    const { status, headers } = head;
    const announced = status === 204 || status === 304 ? 0 : lengthOf(headers);
    if (!(announced <= this.#limit)) {
      if (status === 200) throw new MalformedAnswer(`an answer of ${announced} bytes`);
      return { answer: { status, headers, body: Buffer.alloc(0) }, reusable: false };
    }
    this.#head = head;
    this.#body = PIECE_MEMORY.take(announced);
    return undefined;
  }

  #fill(bytes: Buffer): ReadAnswer | undefined {
    if (this.#filled + bytes.length > this.#body.length) throw new MalformedAnswer('more bytes than announced');
    this.#body.set(bytes, this.#filled);
    this.#filled += bytes.length;
    if (bytes.length > 0) this.#alive(this.#filled);
    if (this.#filled < this.#body.length) return undefined;
    const head = this.#head!;
    const reusable = head.headers.connection?.toLowerCase() !== 'close';
    return { answer: { ...head, body: this.#body }, reusable };
  }
}

/** The announced length of a body; NaN where none is announced. */
function lengthOf(headers: Head['headers']): number {
  const text = headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) && headers['transfer-encoding'] === undefined
    ? Number(text)
    : Number.NaN;
}

function parseHead(text: string): Head {
  const [first = '', ...lines] = text.split('\r\n');
  const status = /^HTTP\/1\.1 ([1-5]\d\d)(?: |$)/.exec(first)?.[1];
  if (status === undefined) throw new MalformedAnswer('no answer of HTTP/1.1');
  const headers: Head['headers'] = Object.create(null);
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    if (!/^[\w-]+$/.test(name)) throw new MalformedAnswer('a malformed header');
    if (name === 'content-length' && headers[name] !== undefined) throw new MalformedAnswer('two lengths');
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return { status: Number(status), headers };
}
