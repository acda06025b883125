/** Works out what a client of the mirror asks for, and of which registry (OCI distribution specification, "Endpoints"). */
import { originalHosts } from '../config/p2p-names.ts';
import { baseUrl, type Upstream, type Upstreams } from './pieces/upstreams.ts';

/** A request for something below `/v2/`. */
export type MirrorRequest =
  | { readonly kind: 'ping'; readonly upstream: Upstream | undefined }
  | {
      readonly kind: 'manifest' | 'blob' | 'other';
      readonly upstream: Upstream;
      readonly repository: string;
      /** Tag or digest. */
      readonly reference: string;
      /** The same thing at the registry. */
      readonly url: URL;
    };

/** Names of repositories, as the specification has them. */
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const REFERENCE = /^(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|[a-z0-9]+:[0-9a-f]{32,128})$/;
const MAX_NAME = 255;

/**
 * Reads the request line. The registry is named, in this order, by the `ns` parameter (containerd), the name by which the agent
 * was reached (in both, `X.distributed.REST:PORT` means `X.REST`, and a name of the configuration means its registry), the first part of the path where it is a configured host
 * (containers-image), the only registry that is configured, Docker Hub (Docker). Returns why the request cannot be answered
 * otherwise.
 */
export function parseMirrorRequest(
  rawUrl: string,
  hostHeader: string | undefined,
  upstreams: Upstreams,
): MirrorRequest | 'not-found' | 'unknown-registry' {
  const [path = '', query = ''] = splitOnce(rawUrl, '?');
  const parameters = new URLSearchParams(query);
  const named = registryNamed(parameters.get('ns') ?? undefined, hostHeader, upstreams);
  if (path === '/v2' || path === '/v2/') {
    const only = upstreams.hosts.length === 1 ? upstreams.byHost(upstreams.hosts[0]!) : undefined;
    return { kind: 'ping', upstream: named === undefined ? only : upstreams.byHost(named) };
  }
  const match = /^\/v2\/(.+)\/(manifests|blobs|referrers|tags)\/([^/]+)$/.exec(path);
  if (match === null) return 'not-found';
  const [, fullName = '', section = '', reference = ''] = match;
  const { upstream, repository } = target(fullName, named, upstreams);
  if (upstream === undefined) return 'unknown-registry';
  if (repository.length > MAX_NAME || !NAME.test(repository) || !REFERENCE.test(reference)) return 'not-found';
  if (section === 'tags' && reference !== 'list') return 'not-found';
  const kind = section === 'manifests' ? 'manifest' : section === 'blobs' ? 'blob' : 'other';
  const url = new URL(`/v2/${repository}/${section}/${reference}`, baseUrl(upstream));
  parameters.delete('ns');
  if (kind === 'other') url.search = parameters.toString();
  return { kind, upstream, repository, reference, url };
}

/** The registry that `ns` or the name of the agent stands for; undefined where neither is such a name. */
function registryNamed(
  ns: string | undefined,
  hostHeader: string | undefined,
  upstreams: Upstreams,
): string | undefined {
  if (ns !== undefined && upstreams.byHost(ns) !== undefined) return ns;
  const byTable = upstreams.byName(ns ?? hostHeader ?? '');
  if (byTable !== undefined) return byTable.host;
  const originals = originalHosts(ns ?? hostHeader);
  return originals.find((host) => upstreams.byHost(host) !== undefined) ?? originals[0] ?? ns;
}

function target(
  name: string,
  named: string | undefined,
  upstreams: Upstreams,
): { upstream: Upstream | undefined; repository: string } {
  if (named !== undefined) return { upstream: upstreams.byHost(named), repository: name };
  const [first = '', rest = ''] = splitOnce(name, '/');
  const prefixed = upstreams.byHost(first);
  if (prefixed !== undefined && rest !== '') return { upstream: prefixed, repository: rest };
  const [only, ...more] = upstreams.hosts;
  const fallback = only !== undefined && more.length === 0 ? only : 'docker.io';
  return { upstream: upstreams.byHost(fallback), repository: name };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
