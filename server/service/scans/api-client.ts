/** The API of a service that runs on this machine: for commands that need its queue, whose file one process has at a time. */

import { bytesSource } from '../../../base/byte-source.ts';
import { AccelError } from '../../../base/error.ts';
import { isRecord } from '../../../base/is-record.ts';
import { VERSION } from '../../../base/version.ts';
import { Transport } from '../../../http/transport.ts';
import { type Config, hostAndPort } from '../../config/schema.ts';
import { readSecretFile } from '../../config/secret-file.ts';

/** Milliseconds in which the service says that it is there, and in which it answers. */
const PROBE_TIMEOUT = 2_000;
const ANSWER_TIMEOUT = 30_000;
/** Bytes of the longest answer: a page of 500 conversions. */
const MAX_ANSWER = 32 * 2 ** 20;
const SHOWN_ANSWER = 300;

/** A client. Closed at the end. */
export class ApiClient {
  readonly #transport: Transport;
  readonly #root: URL;
  readonly #token: string | undefined;
  readonly #signal: AbortSignal;

  private constructor(transport: Transport, root: URL, token: string | undefined, signal: AbortSignal) {
    this.#transport = transport;
    this.#root = root;
    this.#token = token;
    this.#signal = signal;
  }

  /** Connects to `service.listen`; undefined where no service answers there. Uses the first token of the configuration that may write. */
  static async connect({ service }: Config, signal: AbortSignal): Promise<ApiClient | undefined> {
    const { host, port } = hostAndPort(service.listen);
    const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
    const root = new URL(`http://${local.includes(':') ? `[${local}]` : local}:${port}`);
    const index = service.tokens.findIndex(({ scope }) => scope === 'write');
    const token =
      index < 0 ? undefined : await readSecretFile(service.tokens[index]!.file, `service.tokens[${index}].file`);
    const client = new ApiClient(await Transport.open({ env: {} }), root, token, signal);
    if (await client.#isThere()) return client;
    await client.close();
    return undefined;
  }

  /** Sends a request; the answer as JSON. Throws `io-error` with the answer for any but 2xx. */
  async ask(method: 'GET' | 'POST', path: string, document?: object): Promise<Readonly<Record<string, unknown>>> {
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(ANSWER_TIMEOUT)]);
    const body = document === undefined ? undefined : new TextEncoder().encode(JSON.stringify(document));
    const answer = await this.#transport.send({
      method,
      url: new URL(path, this.#root),
      headers: {
        'user-agent': `accel/${VERSION}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      },
      ...(body === undefined ? {} : { body: { source: bytesSource(body), size: body.length } }),
      signal,
    });
    if (answer.status < 200 || answer.status > 299) {
      throw new AccelError('io-error', 'the service refused a request of this command', {
        where: { url: new URL(path, this.#root).href },
        expected: 'HTTP 2xx',
        found: `HTTP ${answer.status}: ${(await answer.excerpt(SHOWN_ANSWER)).trim()}`,
        hint: 'The command uses the first entry of service.tokens with the scope write.',
      });
    }
    const value: unknown = JSON.parse(await answer.text(MAX_ANSWER));
    if (isRecord(value)) return value;
    throw new AccelError('io-error', 'the answer of the service is no object', { where: { url: this.#root.href } });
  }

  /** Closes the connections. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #isThere(): Promise<boolean> {
    try {
      const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(PROBE_TIMEOUT)]);
      const answer = await this.#transport.send({
        method: 'GET',
        url: new URL('/healthz', this.#root),
        headers: {},
        signal,
      });
      await answer.discard();
      return answer.status === 200;
    } catch {
      this.#signal.throwIfAborted();
      return false;
    }
  }
}
