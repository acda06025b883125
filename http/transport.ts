/** One HTTP request and its answer, over undici, within its deadlines. Nothing is retried here. */
import { Flight } from './flight.ts';
import { DEFAULT_RUNTIME, type HttpOptions, type HttpRuntime } from './http-options.ts';
import type { HttpRequest, HttpResponse } from './messages.ts';
import { type RouteOptions, Routes } from './routes.ts';
import { loadTls } from './tls.ts';

export type { HttpBody, HttpRequest, HttpResponse } from './messages.ts';

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
    await this.#options.throttle?.request(outgoing.url.host, outgoing.signal);
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
