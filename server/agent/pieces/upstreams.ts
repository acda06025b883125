/** The registries and stores that an agent may ask: nothing that a client or a peer names leads anywhere else. */

import type { HttpOptions } from '../../../http/http-options.ts';
import { isLocalUrl } from '../../../http/local-address.ts';

/** A registry, or a store that lazily loaded devices read from, as the configuration names it. */
export interface Upstream {
  /** `host[:port]` as clients name it. */
  readonly host: string;
  /** Plain HTTP in place of HTTPS. */
  readonly plain: boolean;
  /** The way to it: certificates, proxies. Credentials are the client's own. */
  readonly http: HttpOptions;
}

/** Finds upstreams by host and refuses the rest. */
export class Upstreams {
  readonly #byHost: ReadonlyMap<string, Upstream>;

  constructor(upstreams: readonly Upstream[]) {
    this.#byHost = new Map(upstreams.map((upstream) => [normalHost(upstream.host), upstream]));
  }

  /** All hosts, as configured. */
  get hosts(): readonly string[] {
    return [...this.#byHost.values()].map(({ host }) => host);
  }

  /** The upstream of a host[:port]; Docker Hub by each of its names. */
  byHost(host: string): Upstream | undefined {
    return this.#byHost.get(normalHost(host));
  }

  /**
   * The upstream of a URL that a client or a peer named; undefined where it is not to be asked: another host or port, another
   * scheme than the configured one, a user in the URL, or an address of this machine that was not configured by name.
   */
  byUrl(url: URL): Upstream | undefined {
    const upstream = this.byHost(url.host);
    if (upstream === undefined || url.username !== '' || url.password !== '') return undefined;
    if (url.protocol !== baseUrl(upstream).protocol) return undefined;
    return isLocalUrl(url) && !isLocalUrl(baseUrl(upstream)) ? undefined : upstream;
  }
}

/** Where an upstream's API is. */
export function baseUrl({ host, plain }: Upstream): URL {
  const reached = normalHost(host) === 'docker.io' ? 'registry-1.docker.io' : host;
  return new URL(`${plain ? 'http' : 'https'}://${reached}/`);
}

function normalHost(host: string): string {
  const lower = host.toLowerCase();
  return lower === 'registry-1.docker.io' || lower === 'index.docker.io' ? 'docker.io' : lower;
}
