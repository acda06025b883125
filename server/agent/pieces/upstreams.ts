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
  /** Another name by which clients pull its images through the agent, `host[:port]`; beside those of p2p-names.ts. */
  readonly p2pName?: string | undefined;
}

/** Finds upstreams by host and refuses the rest. */
export class Upstreams {
  readonly #byHost: ReadonlyMap<string, Upstream>;
  readonly #byName: ReadonlyMap<string, Upstream>;

  constructor(upstreams: readonly Upstream[]) {
    this.#byHost = new Map(
      upstreams.flatMap((upstream) => [
        [normalHost(upstream.host), upstream],
        // A URL leaves out the port of its scheme.
        [normalHost(baseUrl(upstream).host), upstream],
      ]),
    );
    this.#byName = new Map(
      upstreams.flatMap((one) => (one.p2pName === undefined ? [] : [[normalHost(one.p2pName), one]])),
    );
  }

  /** The upstream whose images have this name of an agent in the configuration. */
  byName(name: string): Upstream | undefined {
    return this.#byName.get(normalHost(name));
  }

  /** All hosts, as configured. */
  get hosts(): readonly string[] {
    return [...new Set(this.#byHost.values())].map(({ host }) => host);
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

/**
 * The digest of the blob that a URL leads to: `/v2/NAME/blobs/sha256:HEX` of a registry, `…/blobs/sha256:HEX`,
 * `…/sha256/AA/HEX` or `…/sha256/AA/HEX/data` of a store. Nothing may follow: the bytes of another path are not this blob.
 */
export function blobDigest({ pathname }: URL): string | undefined {
  const match = /\/(?:blobs\/sha256(?::|%3a)|sha256\/([0-9a-f]{2})\/)([0-9a-f]{64})(\/data)?$/i.exec(pathname);
  const [, folder, hex, data] = match ?? [];
  if (hex === undefined || hex !== hex.toLowerCase()) return undefined;
  if (folder === undefined ? data !== undefined : !hex.startsWith(folder)) return undefined;
  return `sha256:${hex}`;
}

/** The repository of a registry's blob or manifest; undefined for other URLs. */
export function repositoryIn({ pathname }: URL): string | undefined {
  return /^\/v2\/(.+)\/(?:blobs|manifests)\/[^/]+$/.exec(pathname)?.[1];
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
