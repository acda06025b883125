/** Connections to servers: direct or by a proxy, with or without TLS. */
import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { Agent, buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici';
import { AccelError } from '../base/error.ts';
import type { Environment, HttpRuntime } from './http-options.ts';
import { isLoopbackName, isMetadataAddress, isOwnAddress } from './local-address.ts';
import { type HttpProxy, proxyRules } from './proxies.ts';
import type { TlsSettings } from './tls.ts';

/** Settings of connections. */
export interface RouteOptions {
  readonly env: Environment;
  readonly runtime: Pick<HttpRuntime, 'connectTimeout' | 'stallTimeout'>;
  readonly tls: () => Promise<TlsSettings>;
  /** Resolves names; omitted: the system's resolver. */
  readonly lookup?: LookupFunction;
}

/** Pools of connections. */
export class Routes {
  readonly #options: RouteOptions;
  readonly #direct: Dispatcher;
  /** For hosts that a server chose: it may not be a metadata service by another name. */
  readonly #guarded: Dispatcher;
  readonly #proxies = new Map<HttpProxy, Promise<Dispatcher>>();
  readonly #proxyFor: (url: URL) => HttpProxy | undefined;

  constructor(options: RouteOptions) {
    this.#options = options;
    const lookup = options.lookup ?? systemLookup;
    this.#direct = new Agent({ ...this.#timeouts(), connect: this.#connector(lookup) });
    this.#guarded = new Agent({ ...this.#timeouts(), connect: this.#connector(guarded(lookup)) });
    this.#proxyFor = proxyRules(options.env);
  }

  /** The way to a URL. `foreign`: a server chose its host. Throws `usage` for a proxy variable that makes no sense. */
  async to(url: URL, foreign: boolean): Promise<Dispatcher> {
    const proxy = this.#proxyFor(url);
    if (proxy === undefined) return foreign ? this.#guarded : this.#direct;
    const known = this.#proxies.get(proxy) ?? this.#openProxy(proxy);
    this.#proxies.set(proxy, known);
    return known;
  }

  /** The proxy on the way to a URL, as `host:port`. */
  proxyOf(url: URL): string | undefined {
    return this.#proxyFor(url)?.url.host;
  }

  /** Closes every connection, also those in use. */
  async close(): Promise<void> {
    const proxies = await Promise.allSettled(this.#proxies.values());
    const open = proxies.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    await Promise.all([this.#direct, this.#guarded, ...open].map((dispatcher) => dispatcher.destroy()));
  }

  async #openProxy({ url, authorization }: HttpProxy): Promise<Dispatcher> {
    const timeout = this.#options.runtime.connectTimeout;
    const settings = { ...(await this.#options.tls()), timeout };
    const bare = new URL(url);
    bare.username = '';
    bare.password = '';
    return new ProxyAgent({
      ...this.#timeouts(),
      uri: bare.href,
      requestTls: settings,
      // The client certificate is for the registry; whom to trust is the same.
      proxyTls: settings,
      ...(authorization === undefined ? {} : { token: authorization }),
      // A proxy that takes a connection and answers nothing.
      clientFactory: (origin, options) => new Pool(origin, { ...options, headersTimeout: timeout }),
    });
  }

  #timeouts(): { readonly bodyTimeout: number; readonly headersTimeout: number } {
    const { stallTimeout } = this.#options.runtime;
    return { bodyTimeout: stallTimeout, headersTimeout: stallTimeout };
  }

  #connector(lookup: LookupFunction): buildConnector.connector {
    const timeout = this.#options.runtime.connectTimeout;
    const plain = buildConnector({ timeout, lookup });
    let secure: Promise<buildConnector.connector> | undefined;
    return (target, callback) => {
      if (target.protocol !== 'https:') return plain(target, callback);
      secure ??= this.#options.tls().then((settings) => buildConnector({ ...settings, timeout, lookup }));
      secure.then(
        (connect) => connect(target, callback),
        (error: Error) => callback(error, null),
      );
    };
  }
}

/**
 * A resolver that refuses names of metadata services, and names of this machine that do not say so: a server that may name a host
 * could use any name for one. The address that is checked is the one that is connected to.
 */
function guarded(lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, options, (error, address, family) => {
      const addresses = typeof address === 'string' ? [address] : (address ?? []).map((entry) => entry.address);
      const isRefused = (one: string) => isMetadataAddress(one) || (isOwnAddress(one) && !isLoopbackName(hostname));
      const found = error === null ? addresses.find(isRefused) : undefined;
      if (found === undefined) return callback(error, address, family);
      const what = isMetadataAddress(found) ? 'a metadata service' : 'this machine by another name';
      const refused = new AccelError('registry-error', `the server points to ${what}, which is refused`, {
        where: { host: hostname },
        expected: 'a name of an address that is neither loopback nor link-local nor of a metadata service',
        found,
      });
      callback(refused, [], 0);
    });
  };
}
