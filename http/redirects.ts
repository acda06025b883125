/** Redirects: registries send readers of blobs to object stores. Credentials stay behind at every change of origin. */
import { AccelError } from '../base/error.ts';
import { isLocalUrl } from './local-address.ts';
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
      throw new AccelError('registry-error', 'the registry redirects without end', {
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
    throw new AccelError('registry-error', 'the registry redirects from HTTPS to plain HTTP, which is refused', {
      where: { url: redactUrl(request.url) },
      expected: 'an https location',
      found: redactUrl(url),
    });
  }
  const { body, headers, ...rest } = request;
  const kept =
    url.origin === request.url.origin
      ? headers
      : Object.fromEntries(Object.entries(headers).filter(([name]) => !PRIVATE_HEADERS.includes(name)));
  if (status === 303 && request.method !== 'HEAD') return { ...rest, headers: kept, method: 'GET', url };
  return { ...rest, headers: kept, url, ...(body === undefined ? {} : { body }) };
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
    throw new AccelError('registry-error', 'the registry answered with a Location that is not a URL', {
      where: { url: redactUrl(base) },
      cause,
    });
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new AccelError('registry-error', 'the registry points to something that is not HTTP', {
      where: { url: redactUrl(base) },
      found: url.protocol,
    });
  }
  if (isLocalUrl(url) && !isLocalUrl(base)) {
    throw new AccelError('registry-error', 'the registry points to this machine itself, which is refused', {
      where: { url: redactUrl(base) },
      expected: 'an address that is not loopback or link-local',
      found: redactUrl(url),
      hint: 'For a registry on this machine, write its loopback address as the repository’s host.',
    });
  }
  url.username = '';
  url.password = '';
  return url;
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}
