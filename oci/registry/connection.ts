/**
 * Sends requests for one repository of a registry, with scheme detection, authorisation, redirects, retries and errors.
 */
import { AccelError, type ErrorPlace } from '../../base/error.ts';
import { redact } from '../../base/secrets.ts';
import { errorCode, isTransientError } from '../../http/failure.ts';
import { DEFAULT_MAX_WAIT, DEFAULT_RUNTIME } from '../../http/http-options.ts';
import { isLoopbackUrl } from '../../http/local-address.ts';
import { redactUrl } from '../../http/redact.ts';
import { sendFollowing } from '../../http/redirects.ts';
import { type Patience, reportOnce, retrying } from '../../http/retry.ts';
import { type HttpBody, type HttpRequest, type HttpResponse, Transport } from '../../http/transport.ts';
import { Authenticator } from './auth.ts';
import { repositoryScope } from './challenge.ts';
import { type FailedResponse, failedResponse, isPlainServer, responseError, transportError } from './errors.ts';
import type { RegistryOptions } from './registry-options.ts';
import type { SharedConnections } from './shared-connections.ts';

/** A request to the registry. */
export interface Exchange {
  /** For messages: completes "the registry failed to …". */
  readonly action: string;
  readonly method: HttpRequest['method'];
  /** Path below the repository (`manifests/latest`), path of the registry (`/v2/…`), or a URL that the registry gave. */
  readonly to: string | URL;
  /** Expected statuses; every other one is an error. */
  readonly expect: readonly number[];
  /** Whether the token must allow pushing. */
  readonly write?: boolean;
  /** Further scopes, such as the repository to mount from. */
  readonly scopes?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the answer is a blob, see {@link HttpRequest.stream}. */
  readonly stream?: boolean;
  /** Number of the try, from 1. */
  readonly attempt?: number;
  readonly body?: HttpBody;
  readonly signal?: AbortSignal | undefined;
  /** Added to the place of an error. */
  readonly where?: ErrorPlace;
}

/** See {@link Connection.open}. */
export class Connection {
  readonly patience: Patience;
  /** Bytes that a resumed transfer must bring to count as progress. */
  readonly leastProgress: number;
  readonly #registry: string;
  readonly #repository: string | undefined;
  readonly #options: RegistryOptions;
  readonly #transport: Transport;
  readonly #auth: Authenticator;
  #base: URL | undefined;
  #detecting: Promise<URL> | undefined;
  /**
   * Whether this registry has answered before; until then a refused connection means a wrong address, not a restart.
   */
  #answered = false;

  private constructor(
    registry: string,
    repository: string | undefined,
    options: RegistryOptions,
    transport: Transport,
  ) {
    const runtime = { ...DEFAULT_RUNTIME, ...options.runtime };
    const { warn = () => undefined, maxWait = DEFAULT_MAX_WAIT, retries } = options;
    this.patience = {
      ...runtime,
      ...(retries === undefined ? {} : { attempts: retries + 1, slowAttempts: retries + 1 }),
      maxWait,
      report: reportOnce((message) => warn(redact(message))),
    };
    this.leastProgress = runtime.leastProgress;
    this.#registry = registry;
    this.#repository = repository;
    this.#options = options;
    this.#transport = transport;
    this.#auth = new Authenticator({ registry, repository }, options, this.patience, transport);
  }

  /** Prepares a connection; nothing is sent yet. Throws `usage` for certificates that cannot be read. */
  static async open(registry: string, repository: string | undefined, options: RegistryOptions): Promise<Connection> {
    const transport = await (options.shared?.transport(options) ?? Transport.open(options));
    if (options.insecure) options.warn?.(`the certificate of ${registry} is not checked`);
    return new Connection(registry, repository, options, transport);
  }

  /** Scopes that a token needs beside pull and push to remove content. */
  get deleteScopes(): readonly string[] {
    return this.#repository === undefined ? [] : [`repository:${this.#repository}:delete`];
  }

  /** Sends with retries. The answer has one of the expected statuses; its body is the caller's to read or discard. */
  async exchange(exchange: Exchange): Promise<HttpResponse> {
    const { signal } = exchange;
    let url: URL | undefined;
    const send = async (attempt: number) => {
      url = await this.#url(exchange.to, signal);
      return this.#authorized({ ...exchange, attempt }, url);
    };
    const response = await retrying(send, this.patience, {
      signal,
      passingError: (error) => this.#passing(error),
    }).catch((error: unknown) => {
      throw this.#asError(exchange, error, url);
    });
    return this.accept(exchange, response);
  }

  /** Sends once, authorised, and returns any answer; for callers that retry more than one request. */
  async once(exchange: Exchange): Promise<HttpResponse> {
    return this.#authorized(exchange, await this.#url(exchange.to, exchange.signal));
  }

  /** Returns the response if its status is expected, otherwise throws its error. */
  async accept(exchange: Exchange, response: HttpResponse): Promise<HttpResponse> {
    if (exchange.expect.includes(response.status)) return response;
    throw (await this.failure(exchange, response)).error;
  }

  /** Reads an answer of an unexpected status: what the registry said, and the error for it. */
  async failure(exchange: Exchange, response: HttpResponse): Promise<{ failed: FailedResponse; error: AccelError }> {
    const where = { ...this.#place(exchange), url: redactUrl(response.url) };
    const failed = await failedResponse(await this.#spoken(exchange, response), this.patience);
    const isDenied = response.status === 401 || response.status === 403;
    // Another origin, such as a store behind a redirect, never saw the login.
    const sawLogin = isDenied && response.url.origin === this.#base?.origin;
    const error = sawLogin
      ? await this.#auth.denied(exchange.action, failed, where)
      : responseError(exchange.action, failed, where);
    return { failed, error };
  }

  /** Any failure of {@link once} as an AccelError. */
  asError(exchange: Exchange, error: unknown): unknown {
    return this.#asError(exchange, error, exchange.to instanceof URL ? exchange.to : undefined);
  }

  /** The Authorization header of pulls, after one was let in; undefined where the registry asks for none. */
  async authorization(signal?: AbortSignal): Promise<string | undefined> {
    return this.#auth.header(await this.#detect(signal), this.#ownScopes(false), signal);
  }

  /** Closes all sockets that are this connection's alone. */
  async close(): Promise<void> {
    if (this.#options.shared === undefined) await this.#transport.close();
  }

  /** The answer that explains a failure: the answer to a HEAD has no body, so a GET asks for it. */
  async #spoken(exchange: Exchange, response: HttpResponse): Promise<HttpResponse> {
    if (exchange.method !== 'HEAD') return response;
    const spoken = await this.once({ ...exchange, method: 'GET' }).catch((error: unknown) => {
      if (exchange.signal?.aborted) throw error;
      return undefined; // Only the status of the HEAD is known.
    });
    const [explained, other] = spoken?.status === response.status ? [spoken, response] : [response, spoken];
    await other?.discard();
    return explained;
  }

  async #authorized(exchange: Exchange, url: URL): Promise<HttpResponse> {
    const base = await this.#detect(exchange.signal);
    const scopes = [...this.#ownScopes(exchange.write ?? false), ...(exchange.scopes ?? [])];
    // An upload's location may lie on another host: our credentials are not for it.
    const home = url.origin === base.origin;
    const sent = home ? await this.#auth.header(base, scopes, exchange.signal) : undefined;
    const first = await this.#send(exchange, url, sent);
    if (first.status !== 401 || first.url.origin !== base.origin) return first;
    const challenge = first.header('www-authenticate');
    if (challenge === undefined || !(await this.#auth.learn(challenge, scopes, sent))) return first;
    await first.discard();
    return this.#send(exchange, url, await this.#auth.header(base, scopes, exchange.signal));
  }

  /** Scopes of the connection's repository. */
  #ownScopes(write: boolean): readonly string[] {
    return this.#repository === undefined ? [] : [repositoryScope(this.#repository, write)];
  }

  async #send(exchange: Exchange, url: URL, authorization: string | undefined): Promise<HttpResponse> {
    const { method, headers, body, signal, stream, attempt } = exchange;
    const base = await this.#detect(signal);
    const response = await sendFollowing(this.#transport, {
      method,
      url,
      headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
      ...(body === undefined ? {} : { body }),
      ...(stream === undefined ? {} : { stream }),
      ...(attempt === undefined ? {} : { attempt }),
      foreign: url.host !== base.host,
      signal,
    });
    this.#answered = true;
    return response;
  }

  async #url(to: string | URL, signal: AbortSignal | undefined): Promise<URL> {
    if (to instanceof URL) return to;
    return new URL(to.startsWith('/') ? to : `/v2/${this.#repository}/${to}`, await this.#detect(signal));
  }

  #detect(signal: AbortSignal | undefined): Promise<URL> {
    if (this.#base !== undefined) return Promise.resolve(this.#base);
    const { shared } = this.#options;
    if (shared !== undefined) return this.#sharedBase(shared, signal);
    this.#detecting ??= this.#detectScheme(signal)
      .then((base) => {
        this.#base = base;
        return base;
      })
      .finally(() => {
        this.#detecting = undefined;
      });
    return this.#detecting;
  }

  async #sharedBase(shared: SharedConnections, signal: AbortSignal | undefined): Promise<URL> {
    this.#base = await shared.base(this.#registry, () => this.#detectScheme(undefined), signal);
    return this.#base;
  }

  /** Uses HTTPS unless plain HTTP was requested, or a loopback registry answers the TLS greeting in HTTP. */
  async #detectScheme(signal: AbortSignal | undefined): Promise<URL> {
    const { plain, warn } = this.#options;
    const open = new URL(`http://${this.#registry}`);
    const secure = new URL(`https://${this.#registry}`);
    if (plain || !isLoopback(this.#registry)) return plain ? open : secure;
    try {
      await (
        await this.#transport.send({ method: 'GET', url: new URL('/v2/', secure), headers: {}, signal })
      ).discard();
      return secure;
    } catch (error) {
      if (!isPlainServer(error)) throw error;
      warn?.(`${this.#registry} speaks plain HTTP; that is accepted on a loopback address`);
      return open;
    }
  }

  #passing(error: unknown): boolean {
    return isTransientError(error) && (this.#answered || errorCode(error) !== 'ECONNREFUSED');
  }

  #asError(exchange: Exchange, error: unknown, url: URL | undefined): unknown {
    if (exchange.signal?.aborted || error instanceof AccelError) return error;
    const place = url ?? this.#base ?? new URL(`https://${this.#registry}`);
    return transportError(exchange.action, error, place, this.#transport.proxyOf(place));
  }

  #place(exchange: Exchange): ErrorPlace {
    const repository = this.#repository === undefined ? {} : { repository: this.#repository };
    return { registry: this.#registry, ...repository, ...exchange.where };
  }
}

/** Whether a host[:port] is this machine by name or address. */
export function isLoopback(host: string): boolean {
  return URL.canParse(`http://${host}`) && isLoopbackUrl(new URL(`http://${host}`));
}
