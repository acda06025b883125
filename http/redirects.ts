/** Redirects: registries send readers of blobs to object stores. Credentials stay behind at every change of origin, and a secret body goes to none. */
import { AccelError } from '../base/error.ts';
import { isLocalUrl, isMetadataUrl } from './local-address.ts';
import { redactUrl } from './redact.ts';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';

/** Most redirects of one request. */
const MAX_REDIRECTS = 10;

/** Headers that belong to the origin that they were made for. */
const PRIVATE_HEADERS: readonly string[] = ['authorization', 'cookie', 'proxy-authorization'];

/** Sends a request and follows its redirects. Throws `registry-error` for a chain that is too long or not safe. */
export async function sendFollowing(transport: Transport, first: HttpRequest): Promise<HttpResponse> {
  let request = first;
  for (let hop = 0; ; hop += 1) {
    const response = await transport.send(request);
    const location = response.header('location');
    if (!isRedirect(response.status) || location === undefined) return response;
    await response.discard();
    if (hop === MAX_REDIRECTS) {
      throw new AccelError('registry-error', 'the server redirects without end', {
        where: { url: redactUrl(first.url) },
        expected: `at most ${MAX_REDIRECTS} redirects`,
      });
    }
    request = redirected(request, response.status, location);
  }
}

/**
 * The request that a redirect asks for. 303 turns into GET (RFC 9110 §15.4.4). A step from HTTPS to HTTP is refused:
 * whoever can read the wire could send us anywhere.
 */
export function redirected(request: HttpRequest, status: number, location: string): HttpRequest {
  const url = resolveLocation(location, request.url);
  if (request.url.protocol === 'https:' && url.protocol !== 'https:') {
    throw new AccelError('registry-error', 'the server redirects from HTTPS to plain HTTP, which is refused', {
      where: { url: redactUrl(request.url) },
      expected: 'an https location',
      found: redactUrl(url),
    });
  }
  const { body, headers, ...rest } = request;
  const becomesGet = status === 303 && request.method !== 'HEAD';
  if (url.origin === request.url.origin) {
    return becomesGet ? { ...rest, headers, method: 'GET', url } : { ...request, url };
  }
  if (body?.secret === true && !becomesGet) {
    throw new AccelError('registry-error', 'the server redirects a request that carries a secret, which is refused', {
      where: { url: redactUrl(request.url) },
      expected: 'an answer, or a redirect within the same origin',
      found: redactUrl(url),
      hint: 'Log in again: a token server that has moved is named by the registry itself.',
    });
  }
  const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => !PRIVATE_HEADERS.includes(name)));
  const next = { ...rest, headers: kept, url, foreign: true };
  if (becomesGet) return { ...next, method: 'GET' };
  return { ...next, ...(body === undefined ? {} : { body }) };
}

/**
 * A Location header, relative or absolute, as a URL without user and password. Throws `registry-error`, also where a
 * registry elsewhere points to this machine itself: what answers there is not for it to reach.
 */
export function resolveLocation(location: string, base: URL): URL {
  let url: URL;
  try {
    url = new URL(location, base);
  } catch (cause) {
    throw new AccelError('registry-error', 'the server answered with a Location that is not a URL', {
      where: { url: redactUrl(base) },
      cause,
    });
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new AccelError('registry-error', 'the server points to something that is not HTTP', {
      where: { url: redactUrl(base) },
      found: url.protocol,
    });
  }
  assertReachable(url, base);
  url.username = '';
  url.password = '';
  return url;
}

/**
 * Throws `registry-error` for a target that a server at `base` has no business with: this machine itself unless `base` is
 * on it too, and a metadata service in any case.
 */
export function assertReachable(url: URL, base: URL): void {
  const metadata = isMetadataUrl(url) && url.hostname !== base.hostname;
  if (!metadata && (!isLocalUrl(url) || isLocalUrl(base))) return;
  const what = metadata ? 'a metadata service or a link-local address' : 'this machine itself';
  throw new AccelError('registry-error', `the server points to ${what}, which is refused`, {
    where: { url: redactUrl(base) },
    expected: 'an address that is not loopback, link-local or of a metadata service',
    found: redactUrl(url),
    ...(metadata
      ? {}
      : { hint: 'For a registry on this machine, write its loopback address as the repository’s host.' }),
  });
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}
