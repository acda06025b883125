/**
 * Reads a blob through the block proxy as overlaybd does (registryfs_v2.cpp and its HTTP client, photon's net/http/client.cpp
 * and net/pooled_socket.cpp): connections are kept and used first in, first out, one that has ended meanwhile is left out, a
 * request that gets no head is tried three times more, a millisecond apart, and an answer that ends early is an I/O error.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const RETRIES = 3;
const RETRY_AFTER = 1;

/** The outcome of a read that got its bytes. */
export interface DeviceRead {
  readonly bytes: Buffer;
  /** Size of the blob as the answer gives it. */
  readonly total: number;
  readonly milliseconds: number;
  readonly tries: number;
}

/** See the head of the file. */
export class DeviceReader {
  readonly #port: number;
  readonly #path: string;
  readonly #keep: boolean;
  readonly #kept: Socket[] = [];

  /** `keep`: connections are kept, as overlaybd keeps them; otherwise each read makes one. */
  constructor({ port, path, keep }: { readonly port: number; readonly path: string; readonly keep: boolean }) {
    this.#port = port;
    this.#path = path;
    this.#keep = keep;
  }

  /** Connections that are kept now. */
  get kept(): number {
    return this.#kept.length;
  }

  /** Reads a range. Rejects where overlaybd reports an I/O error. */
  async read(offset: number, count: number): Promise<DeviceRead> {
    const started = performance.now();
    for (let tries = 1; ; tries++) {
      const got = await this.#attempt(offset, count);
      if (typeof got !== 'string') return { ...got, milliseconds: performance.now() - started, tries };
      if (tries > RETRIES) throw new Error(`I/O error at ${offset} after ${tries} tries: ${got}`);
      await sleep(RETRY_AFTER);
    }
  }

  /** Closes the kept connections. */
  close(): void {
    for (const socket of this.#kept) socket.destroy();
  }

  /** One request: its answer, or why there was no head. Rejects where the answer ended early. */
  #attempt(offset: number, count: number): Promise<{ bytes: Buffer; total: number } | string> {
    const socket = this.#kept.shift() ?? connect(this.#port, '127.0.0.1').setNoDelay(true);
    socket.removeAllListeners();
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let size = 0;
      let head: { text: string; length: number; at: number } | undefined;
      const fail = (reason: string) => {
        socket.destroy();
        if (head === undefined) resolve(reason);
        else reject(new Error(`I/O error at ${offset}: ${size - head.at} of ${head.length} bytes, then ${reason}`));
      };
      socket.on('error', ({ message }) => fail(message));
      socket.on('end', () => fail('the end of the connection'));
      socket.on('close', () => fail('a closed connection'));
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        head ??= parseHead(Buffer.concat(chunks));
        if (head === undefined || size < head.at + head.length) return;
        socket.removeAllListeners();
        if (!/^HTTP\/1.1 20[06] /.test(head.text)) {
          socket.destroy();
          return resolve(head.text.split('\r\n')[0]!);
        }
        this.#release(socket, head.text);
        const total = Number(/\/(\d+)/.exec(/content-range:.*/i.exec(head.text)?.[0] ?? '')?.[1]);
        resolve({ bytes: Buffer.concat(chunks).subarray(head.at), total });
      });
      socket.write(
        `GET ${this.#path} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=${offset}-${offset + count - 1}\r\n` +
          `Connection: ${this.#keep ? 'keep-alive' : 'close'}\r\n\r\n`,
      );
    });
  }

  #release(socket: Socket, head: string): void {
    if (!this.#keep || /connection: close/i.test(head)) return void socket.destroy();
    const drop = () => {
      const index = this.#kept.indexOf(socket);
      if (index >= 0) this.#kept.splice(index, 1);
      socket.destroy();
    };
    for (const event of ['error', 'end', 'close', 'data']) socket.on(event, drop);
    this.#kept.push(socket);
  }
}

function parseHead(bytes: Buffer): { text: string; length: number; at: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const text = bytes.toString('latin1', 0, end);
  return { text, length: Number(/content-length: *(\d+)/i.exec(text)?.[1] ?? 0), at: end + 4 };
}
