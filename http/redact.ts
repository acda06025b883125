/** Keeps secrets out of what is printed. */

/** A URL for messages: without user, password, query (signatures live there) and fragment. */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}${url.search === '' ? '' : '?…'}`;
}
