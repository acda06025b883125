/** One HTTP request and its answer, over undici, within its deadlines. Nothing is retried here. */
import { type Dispatcher, request } from 'undici';
import type { BlobSource } from '../base/byte-source.ts';
import { Deadline, RateWatch } from './deadline.ts';
import { DEFAULT_MIN_RATE, DEFAULT_RUNTIME, type HttpOptions, type HttpRuntime } from './http-options.ts';
import { traceOf } from './http-trace.ts';
import { type RouteOptions, Routes } from './routes.ts';
import { loadTls } from './tls.ts';

/** A request as it goes out. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: HttpBody;
  readonly signal?: AbortSignal | undefined;
  /** Whether the answer is a blob: bounded by its rate, and not as a document is by the time for the whole. */
  readonly stream?: boolean;
  /** Whether a server chose the URL's host: then it may not resolve to a metadata service. */
  readonly foreign?: boolean;
  /** Which try of the same request it is, from 1; for the trace. */
  readonly attempt?: number;
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
  /** The same for a body that explains a failure: what arrives within a few seconds is enough. */
  excerpt(limit: number): Promise<string>;
  /** Drops the body. */
  discard(): Promise<void>;
}

/** Most of an unwanted body that is read to keep a connection, in bytes; past it the connection is closed. */
const DISCARD_LIMIT = 64 * 1024;
/** Milliseconds for that. */
const DISCARD_TIMEOUT = 1_000;
/** Milliseconds to read the explanation of a failure. */
const EXCERPT_TIMEOUT = 5_000;

/** Sends requests. */
export class Transport {
  readonly #runtime: HttpRuntime;
  readonly #options: HttpOptions;
  readonly #routes: Routes;

  private constructor(options: HttpOptions, runtime: HttpRuntime, routes: Routes) {
    this.#options = options;
    this.#runtime = runtime;
    this.#routes = routes;
  }

  /** Reads the certificates that the options name. Throws `usage` for unreadable ones. */
  static async open(options: HttpOptions, lookup?: RouteOptions['lookup']): Promise<Transport> {
    const env = options.env ?? process.env;
    const runtime = { ...DEFAULT_RUNTIME, ...options.runtime };
    const tls = await loadTls(options, env);
    return new Transport(
      options,
      runtime,
      new Routes({ env, runtime, tls, ...(lookup === undefined ? {} : { lookup }) }),
    );
  }

  /**
   * Sends the request once. Rejects with undici's or the system's error, a `DeadlineError`, or the signal's reason; with
   * `usage` for a proxy variable that makes no sense.
   */
  async send(outgoing: HttpRequest): Promise<HttpResponse> {
    outgoing.signal?.throwIfAborted();
    const dispatcher = await this.#routes.to(outgoing.url, outgoing.foreign === true);
    return new Flight(outgoing, this.#options, this.#runtime).send(dispatcher);
  }

  /** The proxy on the way to a URL, as `host:port`; undefined: none. */
  proxyOf(url: URL): string | undefined {
    return this.#routes.proxyOf(url);
  }

  /** Closes every connection, also those in use. */
  async close(): Promise<void> {
    await this.#routes.close();
  }
}

/** A request from its start to the end of its answer. */
class Flight {
  readonly #outgoing: HttpRequest;
  readonly #options: HttpOptions;
  readonly #runtime: HttpRuntime;
  readonly #controller = new AbortController();
  readonly #deadline = new Deadline((error) => this.#controller.abort(error));
  readonly #onAbort = () => this.#controller.abort(this.#outgoing.signal?.reason);
  readonly #started = performance.now();
  #watch: RateWatch | undefined;
  #answer: { readonly status: number; header(name: string): string | undefined } | undefined;
  #sent = 0;
  #received = 0;
  #landed = false;

  constructor(outgoing: HttpRequest, options: HttpOptions, runtime: HttpRuntime) {
    this.#outgoing = outgoing;
    this.#options = options;
    this.#runtime = runtime;
  }

  async send(dispatcher: Dispatcher): Promise<HttpResponse> {
    const { method, url, headers, body, signal } = this.#outgoing;
    const { connectTimeout, stallTimeout, commitTimeout } = this.#runtime;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    const hasBody = body !== undefined && body.size > 0;
    if (!hasBody) this.#deadline.set(connectTimeout + stallTimeout, 'HEADERS_DEADLINE', 'no complete answer');
    try {
      const answer = await request(url, {
        dispatcher,
        method,
        headers: {
          'user-agent': 'accel-image',
          'accept-encoding': 'identity',
          ...headers,
          ...(body === undefined ? {} : { 'content-length': String(body.size) }),
        },
        // undici takes any async iterable, though its types name streams alone.
        ...(body === undefined ? {} : { body: (hasBody ? this.#outgoingBody(body) : new Uint8Array(0)) as Uint8Array }),
        ...(body === undefined ? {} : { headersTimeout: commitTimeout }),
        signal: this.#controller.signal,
      });
      return this.#response(answer);
    } catch (error) {
      this.#land(error);
      throw error;
    }
  }

  /** The body as it goes out; each further piece is asked for once the network has taken the one before. */
  async *#outgoingBody({ source }: HttpBody): AsyncGenerator<Uint8Array, void, undefined> {
    const watch = this.#watchRate();
    for await (const chunk of source.open()) {
      watch.waiting();
      yield chunk;
      watch.moved(chunk.length);
      this.#sent += chunk.length;
    }
    watch.stop();
    if (this.#answer === undefined && !this.#landed) {
      this.#deadline.set(this.#runtime.commitTimeout, 'HEADERS_DEADLINE', 'no complete answer to an upload');
    }
  }

  #response(answer: Dispatcher.ResponseData): HttpResponse {
    this.#deadline.clear();
    this.#watch?.stop();
    const { method, url, stream } = this.#outgoing;
    const header = (name: string) => {
      const value = answer.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    };
    this.#answer = { status: answer.statusCode, header };
    if (stream !== true && method !== 'HEAD')
      this.#deadline.set(this.#runtime.documentTimeout, 'DOCUMENT_DEADLINE', 'no complete document');
    const body = { [Symbol.asyncIterator]: () => this.#incomingBody(answer.body) };
    return {
      status: answer.statusCode,
      url,
      header,
      body,
      text: (limit) => readText(body, limit),
      excerpt: (limit) => {
        const chunks: Uint8Array[] = [];
        this.#deadline.set(EXCERPT_TIMEOUT, 'DOCUMENT_DEADLINE', 'no complete document');
        return readText(body, limit, chunks).catch((error: unknown) => {
          this.#outgoing.signal?.throwIfAborted();
          if (chunks.length === 0) throw error;
          return decode(chunks);
        });
      },
      discard: async () => {
        const signal = AbortSignal.timeout(DISCARD_TIMEOUT);
        // It only serves to keep the connection: a body that does not end is cut off.
        await answer.body.dump({ limit: DISCARD_LIMIT, signal }).catch(() => undefined);
        this.#land(undefined);
      },
    };
  }

  async *#incomingBody(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    const watch = this.#outgoing.stream === true ? this.#watchRate() : undefined;
    let failure: unknown;
    try {
      watch?.waiting();
      for await (const chunk of body) {
        watch?.moved(chunk.length);
        this.#received += chunk.length;
        yield chunk;
        watch?.waiting();
      }
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      this.#land(failure);
    }
  }

  #watchRate(): RateWatch {
    const { minRate = DEFAULT_MIN_RATE } = this.#options;
    const rule = { minRate, window: this.#runtime.rateWindow };
    this.#watch = new RateWatch(rule, (error) => this.#controller.abort(error));
    return this.#watch;
  }

  /** Ends the clocks and reports the request. */
  #land(error: unknown): void {
    this.#deadline.clear();
    this.#watch?.stop();
    this.#outgoing.signal?.removeEventListener('abort', this.#onAbort);
    if (this.#landed) return;
    this.#landed = true;
    const { method, url, attempt } = this.#outgoing;
    this.#options.trace?.(
      traceOf({
        method,
        url,
        attempt,
        started: this.#started,
        ended: performance.now(),
        sent: this.#sent,
        received: this.#received,
        answer: this.#answer,
        error,
      }),
    );
  }
}

async function readText(body: AsyncIterable<Uint8Array>, limit: number, chunks: Uint8Array[] = []): Promise<string> {
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk.subarray(0, limit - size));
    size += chunk.length;
    if (size >= limit) break;
  }
  return decode(chunks);
}

function decode(chunks: readonly Uint8Array[]): string {
  return new TextDecoder().decode(Buffer.concat(chunks));
}
