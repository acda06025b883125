/** Addresses that only this machine answers, or its own network card: where no registry elsewhere has any business. */

/** Loopback, unspecified and link-local addresses; cloud machines keep their credentials behind a link-local one. */
const LOCAL: readonly RegExp[] = [
  /^(.+\.)?localhost\.?$/,
  /^127(\.\d{1,3}){3}$/,
  /^0(\.\d{1,3}){3}$/,
  /^169\.254(\.\d{1,3}){2}$/,
  /^\[::1?\]$/,
  /^\[fe[89ab][0-9a-f]:/,
  // The same IPv4 addresses written as IPv6: ::ffff:7f00:1.
  /^\[::ffff:(7f[0-9a-f]{2}|a9fe|0|[0-9a-f]{1,2}):/,
];

/** Whether a URL leads to this machine by its very host; names are not looked up. */
export function isLocalUrl(url: URL): boolean {
  // URL has brought every way to write an address into one form.
  return LOCAL.some((pattern) => pattern.test(url.hostname));
}
