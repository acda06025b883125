/** One HTTP request and its answer, over undici: connections, TLS, proxies and timeouts. Nothing is retried here. */
import { Agent, type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import type { BlobSource } from '../base/byte-source.ts';
import type { RegistryOptions, RegistryRuntime } from './registry-options.ts';
import { loadTls } from './tls.ts';

/** A request as it goes out. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: HttpBody;
  readonly signal?: AbortSignal | undefined;
  /** Whether a server chose the URL's host: then it may not resolve to a metadata service. */
  readonly foreign?: boolean;
}

/** A body of known length that can be sent again. */
export interface HttpBody {
  readonly source: BlobSource;
  /** Bytes. */
  readonly size: number;
  /** Whether it holds a secret, which then follows no redirect to another origin. */
  readonly secret?: boolean;
}

/** An answer. Its body must be read to the end, or discarded. */
export interface HttpResponse {
  readonly status: number;
  /** The URL that answered, after redirects. */
  readonly url: URL;
  readonly body: AsyncIterable<Uint8Array>;
  /** A header's value (the values, joined by a comma), by its lower-case name. */
  header(name: string): string | undefined;
  /** The start of the body as text, at most `limit` bytes; the rest is dropped. */
  text(limit: number): Promise<string>;
  /** Drops the body. */
  discard(): Promise<void>;
}

/** Most of an unwanted body that is read to keep a connection, in bytes; past it the connection is closed. */
const DISCARD_LIMIT = 64 * 1024;

/** Sends requests of one registry. */
export class Transport {
  readonly #runtime: RegistryRuntime;
  readonly #dispatcher: Dispatcher;

  private constructor(dispatcher: Dispatcher, runtime: RegistryRuntime) {
    this.#dispatcher = dispatcher;
    this.#runtime = runtime;
  }

  /** Reads the certificates that the options name. `direct` keeps off proxies. Throws `usage` for unreadable ones. */
  static async open(options: RegistryOptions, runtime: RegistryRuntime, direct: boolean): Promise<Transport> {
    const env = options.env ?? process.env;
    const tls = await loadTls(options, env);
    const connect = { timeout: runtime.connectTimeout, ...tls };
    const common = { connect, bodyTimeout: runtime.stallTimeout, headersTimeout: runtime.stallTimeout };
    const httpProxy = env.http_proxy ?? env.HTTP_PROXY;
    const httpsProxy = env.https_proxy ?? env.HTTPS_PROXY;
    const dispatcher =
      direct || !(httpProxy || httpsProxy)
        ? new Agent(common)
        : new EnvHttpProxyAgent({
            ...common,
            requestTls: connect,
            httpProxy: httpProxy ?? '',
            httpsProxy: httpsProxy ?? '',
            noProxy: env.no_proxy ?? env.NO_PROXY ?? '',
          });
    return new Transport(dispatcher, runtime);
  }

  /** Sends the request once. Rejects with undici's or the system's error, or the signal's reason. */
  async send(outgoing: HttpRequest): Promise<HttpResponse> {
    const { method, url, headers, body, signal } = outgoing;
    const length = body === undefined ? {} : { 'content-length': String(body.size) };
    const answer = await request(url, {
      dispatcher: this.#dispatcher,
      method,
      headers: { 'user-agent': 'accel-image', 'accept-encoding': 'identity', ...headers, ...length },
      // undici takes any async iterable, though its types name streams alone.
      ...(body === undefined ? {} : { body: (body.size === 0 ? new Uint8Array(0) : body.source.open()) as Uint8Array }),
      ...(body === undefined ? {} : { headersTimeout: this.#runtime.commitTimeout }),
      ...(signal === undefined ? {} : { signal }),
    });
    const header = (name: string) => {
      const value = answer.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    };
    return {
      status: answer.statusCode,
      url,
      header,
      body: answer.body,
      text: (limit) => readText(answer.body, limit),
      discard: () => answer.body.dump({ limit: DISCARD_LIMIT }),
    };
  }

  /** Closes every connection, also those in use. */
  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }
}

async function readText(body: AsyncIterable<Uint8Array>, limit: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk.subarray(0, limit - size));
    size += chunk.length;
    if (size >= limit) break;
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}
