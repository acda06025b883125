/** NO_PROXY: the hosts that are reached without a proxy, as curl and Go's programs read it. */
import { BlockList, isIP, isIPv4 } from 'node:net';
import { AccelError } from '../base/error.ts';

/** One entry, ready to be asked. */
interface Entry {
  /** 0: any port. */
  readonly port: number;
  matches(host: string): boolean;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };

/**
 * A test for URLs that need no proxy. Entries are divided by commas or white space: `*`, a domain with all below it
 * (`example.com`, `.example.com`, `*.example.com`), an address, a network (`10.0.0.0/8`, `2001:db8::/32`), each but `*`
 * with a `:port` if wanted. Throws `usage` with the variable's name for what is none of these.
 */
export function parseNoProxy(text: string, variable: string): (url: URL) => boolean {
  const entries = text
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .map((entry) => parseEntry(entry, variable));
  return (url) => {
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
    const port = Number(url.port) || DEFAULT_PORTS[url.protocol] || 0;
    return entries.some((entry) => (entry.port === 0 || entry.port === port) && entry.matches(host));
  };
}

function parseEntry(entry: string, variable: string): Entry {
  if (entry === '*') return { port: 0, matches: () => true };
  const { host, port } = splitPort(entry);
  const portNumber = port === undefined ? 0 : Number(port);
  if (port !== undefined && !(portNumber >= 1 && portNumber <= 65_535)) throw invalid(entry, variable);
  const [address = '', prefix, ...rest] = host.split('/');
  if (prefix !== undefined || isIP(address) !== 0) {
    const list = new BlockList();
    const version = isIP(address);
    const most = version === 4 ? 32 : 128;
    const bits = prefix === undefined ? most : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
    if (version === 0 || rest.length > 0 || !(bits <= most)) throw invalid(entry, variable);
    list.addSubnet(address, bits, family(address));
    return { port: portNumber, matches: (name) => isIP(name) !== 0 && list.check(name, family(name)) };
  }
  const domain = address
    .toLowerCase()
    .replace(/^\*?\./, '')
    .replace(/\.$/, '');
  if (!/^[\p{L}\p{N}_*-]+(?:\.[\p{L}\p{N}_*-]+)*$/u.test(domain)) throw invalid(entry, variable);
  return { port: portNumber, matches: (name) => name === domain || name.endsWith(`.${domain}`) };
}

/** `host`, `host:port`, `[v6]`, `[v6]:port`, `v6`, `network/bits`, `[v6/bits]:port`. */
function splitPort(entry: string): { readonly host: string; readonly port: string | undefined } {
  const bracketed = /^\[([^\]]*:[^\]]*)\](\/\d+)?(?::(\d+))?$/.exec(entry);
  if (bracketed !== null) return { host: `${bracketed[1]}${bracketed[2] ?? ''}`, port: bracketed[3] };
  const colons = entry.split(':').length - 1;
  if (colons !== 1) return { host: entry, port: undefined };
  const colon = entry.indexOf(':');
  const port = entry.slice(colon + 1);
  return { host: entry.slice(0, colon), port: /^\d{1,5}$/.test(port) ? port : '0' };
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIPv4(address) ? 'ipv4' : 'ipv6';
}

function invalid(entry: string, variable: string): AccelError {
  return new AccelError('usage', `the environment variable ${variable} has an entry that is no host or network`, {
    where: { variable },
    expected: 'a domain, an address or a network such as 10.0.0.0/8, each with :PORT if wanted, divided by commas',
    found: entry,
  });
}
