/**
 * Reads blobs as overlaybd's devices do (docs/agent.md, "Lazily loaded images"): one TCP connection to see that the proxy lives,
 * `bytes=0-0` for the size, then ranges of 256 KiB, each tried four times with a millisecond between; no cache. For tests and
 * measurements.
 */
import http from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { PIECE_BYTES, pieceBytes } from '../../formats/piece-list/piece-list.ts';

/** Bytes of a read, and tries of each. */
const READ = 256 * 1024;
const TRIES = 4;
const RETRY_AFTER = 1;
/** Reads of one device at once. */
const AT_ONCE = 8;

/** A device that reads through one agent. */
export class DeviceClient {
  readonly #proxy: URL;
  readonly #authorization: string | undefined;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });
  readonly #sizes = new Map<string, Promise<number>>();
  readonly #pieces = new Map<string, Set<number>>();

  /** `proxy`: the block proxy of an agent, as in `p2pConfig.address`. */
  constructor(proxy: string, authorization?: string) {
    this.#proxy = new URL(proxy);
    this.#authorization = authorization;
  }

  /** Pieces of 2 MiB that the reads so far lie in, by URL of the blob and number, with the bytes of each. */
  get pieces(): Promise<ReadonlyMap<string, number>> {
    return (async () => {
      const all = new Map<string, number>();
      for (const [url, numbers] of this.#pieces) {
        const size = await this.size(url);
        for (const index of numbers) all.set(`${url} ${index}`, pieceBytes(size, index));
      }
      return all;
    })();
  }

  /** Bytes of a blob. Rejects where the proxy does not live, or does not answer as a device needs it. */
  size(url: string): Promise<number> {
    let size = this.#sizes.get(url);
    if (size === undefined) {
      size = this.#open(url);
      this.#sizes.set(url, size);
    }
    return size;
  }

  /** Bytes of a blob from `offset` on. Rejects, as a device's read does, when four tries have failed. */
  async read(url: string, offset: number, length: number): Promise<Buffer> {
    const size = await this.size(url);
    const first = Math.floor(offset / READ);
    const last = Math.ceil((offset + length) / READ);
    const blocks = await Promise.all(
      Array.from({ length: last - first }, (_, at) => {
        const start = (first + at) * READ;
        return this.#block(url, start, Math.min(size, start + READ));
      }),
    );
    const from = offset - first * READ;
    return Buffer.concat(blocks).subarray(from, from + length);
  }

  /** Ends the connections. */
  close(): void {
    this.#agent.destroy();
  }

  async #open(url: string): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(Number(this.#proxy.port), this.#proxy.hostname, () => {
        socket.destroy();
        resolve();
      });
      socket.on('error', reject);
    });
    const { status, range } = await this.#get(url, 0, 1);
    const total = /^bytes 0-0\/(\d+)$/.exec(range)?.[1];
    if (status !== 206 || total === undefined) throw new Error(`${url}: HTTP ${status} ${range} for its size`);
    return Number(total);
  }

  async #block(url: string, start: number, end: number): Promise<Buffer> {
    this.#touch(url, start);
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#get(url, start, end).catch((error: Error) => error);
      if (!(answer instanceof Error) && answer.status === 206 && answer.bytes.length === end - start)
        return answer.bytes;
      if (attempt === TRIES)
        throw new Error(`${url}: ${answer instanceof Error ? answer.message : `HTTP ${answer.status}`} at ${start}`);
      await sleep(RETRY_AFTER);
    }
  }

  /** Notes the piece that a read lies in. The question for the size does not count: an agent can answer it without the piece. */
  #touch(url: string, start: number): void {
    const seen = this.#pieces.get(url) ?? new Set<number>();
    this.#pieces.set(url, seen);
    seen.add(Math.floor(start / PIECE_BYTES));
  }

  #get(
    url: string,
    start: number,
    end: number,
  ): Promise<{ readonly status: number; readonly range: string; readonly bytes: Buffer }> {
    const headers = {
      range: `bytes=${start}-${end - 1}`,
      ...(this.#authorization === undefined ? {} : { authorization: this.#authorization }),
    };
    return new Promise((resolve, reject) => {
      const path = `${this.#proxy.pathname}/${url}`;
      const { hostname: host, port } = this.#proxy;
      const request = http.get({ host, port, path, headers, agent: this.#agent }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            range: response.headers['content-range'] ?? '',
            bytes: Buffer.concat(chunks),
          }),
        );
      });
      request.on('error', reject);
    });
  }
}
