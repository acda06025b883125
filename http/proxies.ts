/** Proxies by the usual environment variables. */
import { AccelError } from '../base/error.ts';
import { hideSecret } from '../base/secrets.ts';
import type { Environment } from './http-options.ts';
import { isLoopbackUrl } from './local-address.ts';
import { parseNoProxy } from './no-proxy.ts';

/** Schemes of proxies. */
const SCHEMES: readonly string[] = ['http:', 'https:', 'socks5:', 'socks:'];

/** A proxy: where it is, and what it asks for. */
export interface HttpProxy {
  readonly url: URL;
  /** The variable that names it. */
  readonly variable: string;
  /** Value of Proxy-Authorization. */
  readonly authorization: string | undefined;
}

/**
 * The proxy for a URL, by HTTP_PROXY, HTTPS_PROXY and NO_PROXY or their lower-case names, which come first; undefined:
 * none. HTTPS goes through HTTP_PROXY where HTTPS_PROXY is not set. Loopback addresses are never sent to a proxy. The
 * variables are read when the first URL needs them: throws `usage` with the name of one that makes no sense.
 */
export function proxyRules(env: Environment): (url: URL) => HttpProxy | undefined {
  let rules: Rules | undefined;
  return (url) => {
    if (isLoopbackUrl(url)) return undefined;
    rules ??= readRules(env);
    const proxy = url.protocol === 'https:' ? rules.https : rules.http;
    return proxy === undefined || rules.isDirect(url) ? undefined : proxy;
  };
}

interface Rules {
  readonly http: HttpProxy | undefined;
  readonly https: HttpProxy | undefined;
  isDirect(url: URL): boolean;
}

function readRules(env: Environment): Rules {
  const http = proxyOf(env, ['http_proxy', 'HTTP_PROXY']);
  const https = proxyOf(env, ['https_proxy', 'HTTPS_PROXY']) ?? http;
  const variable = firstSet(env, ['no_proxy', 'NO_PROXY']);
  const isDirect =
    https === undefined || variable === undefined ? () => false : parseNoProxy(env[variable] ?? '', variable);
  return { http, https, isDirect };
}

function proxyOf(env: Environment, names: readonly string[]): HttpProxy | undefined {
  const variable = firstSet(env, names);
  return variable === undefined ? undefined : parseProxy(env[variable] ?? '', variable);
}

function firstSet(env: Environment, names: readonly string[]): string | undefined {
  return names.find((name) => env[name]?.trim());
}

/** A proxy as its variable names it; without a scheme it is an HTTP proxy. Throws `usage`. */
export function parseProxy(text: string, variable: string): HttpProxy {
  const trimmed = text.trim();
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed) ? trimmed : `http://${trimmed}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  const isUsable =
    url !== undefined &&
    SCHEMES.includes(url.protocol) &&
    url.hostname !== '' &&
    url.port !== '0' &&
    `${url.pathname}${url.search}${url.hash}`.replace('/', '') === '' &&
    !/\s/.test(trimmed);
  const user = isUsable ? decode(url.username) : undefined;
  const password = isUsable ? decode(url.password) : undefined;
  if (!isUsable || user === undefined || password === undefined) throw invalid(trimmed, variable);
  hideSecret(password);
  const authorization =
    user === '' && password === '' ? undefined : `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  return { url, variable, authorization };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined; // A percent sign that begins no escape: the caller names the variable.
  }
}

function invalid(text: string, variable: string): AccelError {
  // The part before the last @ may be a password.
  const found = text.slice(text.lastIndexOf('@') + 1);
  return new AccelError('usage', `the environment variable ${variable} does not name a proxy`, {
    where: { variable },
    expected: 'http://[USER:PASSWORD@]HOST:PORT, or https or socks5; USER and PASSWORD percent-encoded',
    found: found === text ? text : `…@${found}`,
  });
}
