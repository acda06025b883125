/** Pages of a registry's lists. */
import { resolveLocation } from '../../http/redirects.ts';
import type { HttpResponse } from '../../http/transport.ts';

/** The next page by the Link header (RFC 8288), on the same registry only. */
export function nextPage(response: HttpResponse): URL | undefined {
  const link = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(response.header('link') ?? '')?.[1];
  if (link === undefined) return undefined;
  const url = resolveLocation(link, response.url);
  return url.origin === response.url.origin ? url : undefined;
}
