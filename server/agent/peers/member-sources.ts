/** Where members come from: a list in the configuration, a file that another program keeps, or a name in DNS. */
import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { AccelError } from '../../../base/error.ts';
import type { MemberSource } from './peers.ts';
import type { Peer } from './topology.ts';

/** Most members of a network: past it the contract names other engines. */
const MOST_MEMBERS = 10_000;
/** Milliseconds for an answer of DNS. */
const DNS_TIMEOUT = 2_000;

/** Members that never change. Each is `ip:port`, or `ip:port zone`. Throws `usage` for an entry that is neither. */
export function staticMembers(entries: readonly string[]): MemberSource {
  const peers = entries.map((entry, index) => parseMember(entry, `entry ${index + 1}`));
  return { name: 'the configured list', read: () => Promise.resolve(peers) };
}

/** Members from a file: one `ip:port [zone]` a line; empty lines and what follows a `#` are passed over. */
export function fileMembers(path: string): MemberSource {
  return {
    name: path,
    read: async (signal) => {
      const text = await readFile(path, { encoding: 'utf8', signal });
      const peers = text.split('\n').flatMap((line, index) => {
        const entry = line.replace(/#.*/, '').trim();
        return entry === '' ? [] : [parseMember(entry, `${path}, line ${index + 1}`)];
      });
      return bounded(peers, path);
    },
  };
}

/** Members from the addresses of a name, such as a headless service; all listen on one port. */
export function dnsMembers(name: string, port: number): MemberSource {
  return {
    name: `the addresses of ${name}`,
    read: async (signal) => {
      const resolver = new Resolver({ timeout: DNS_TIMEOUT, tries: 2 });
      const cancel = () => resolver.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      try {
        const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
        const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
        if (addresses.length === 0) throw (answers[0] as PromiseRejectedResult).reason;
        return bounded(
          addresses.map((address) => ({ id: peerId(address, port), zone: '' })),
          name,
        );
      } finally {
        signal.removeEventListener('abort', cancel);
      }
    },
  };
}

/** A source that gives at most as many members as this agent takes. Rejects with `limit-exceeded` beyond. */
export function boundedSource(source: MemberSource): MemberSource {
  return {
    name: source.name,
    read: async (signal) => bounded(await source.read(signal), source.name),
    onChange: (changed) => source.onChange?.(changed),
    problem: () => source.problem?.(),
    close: async () => source.close?.(),
    ...(source.age === undefined ? {} : { age: () => source.age!() }),
  };
}

function bounded(peers: readonly Peer[], place: string): readonly Peer[] {
  if (peers.length <= MOST_MEMBERS) return peers;
  throw new AccelError('limit-exceeded', 'the peer network is too large for this agent', {
    where: { members: place },
    expected: `at most ${MOST_MEMBERS} members`,
    found: peers.length,
  });
}

/** The id of the node at an address: `ip:port`, IPv6 in brackets. */
export function peerId(address: string, port: number): string {
  return isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Parses `ip:port [zone]`. Throws `usage`, naming the place, for anything else. */
export function parseMember(entry: string, place: string): Peer {
  const [id = '', zone = '', ...more] = entry.split(/\s+/);
  const colon = id.lastIndexOf(':');
  const address = id.slice(0, colon).replace(/^\[|\]$/g, '');
  const port = Number(id.slice(colon + 1));
  const valid = isIP(address) !== 0 && Number.isInteger(port) && port > 0 && port < 65_536 && more.length === 0;
  if (valid) return { id: peerId(address, port), zone };
  throw new AccelError('usage', 'a member of the peer network is not an address and a port', {
    where: { member: place },
    expected: 'ip:port, or ip:port and a zone',
    found: entry.slice(0, 100),
  });
}
