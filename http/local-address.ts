/**
 * Addresses where no server elsewhere may send us: this machine, its own network link, and the metadata services that
 * hand out a cloud machine's credentials to whoever asks from it. Names are not looked up here; the transport checks
 * what the name of a redirect's target resolves to.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';

/** Names that /etc/hosts gives to the loopback addresses. */
const LOOPBACK_NAME = /^(?:(?:.+\.)?localhost|localhost[46]?(?:\.localdomain[46]?)?|ip6-(?:localhost|loopback))$/;

/** Names by which clouds offer their metadata service. */
const METADATA_NAME =
  /^(?:metadata|instance-data|(?:.+\.)?metadata\.google\.internal|metadata\.goog|instance-data\.ec2\.internal|metadata\.(?:internal|azure\.internal|tencentyun\.com|platformequinix\.com|packet\.net)|api\.metadata\.cloud\.ibm\.com)$/;

/** Loopback, unspecified, multicast, reserved and broadcast addresses. */
const OWN = ranges([
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['::', 128],
  ['::1', 128],
  ['ff00::', 8],
]);

/** Link-local ranges, where most clouds have their metadata service, and those that have it elsewhere. */
const METADATA = ranges([
  ['169.254.0.0', 16],
  ['fe80::', 10],
  // Site-local addresses, deprecated by RFC 3879: no registry is there.
  ['fec0::', 10],
  // Alibaba Cloud.
  ['100.100.100.200', 32],
  // Azure: the platform's own channel, with certificates and extension settings.
  ['168.63.129.16', 32],
  // Oracle Cloud Classic; 192.0.0.0/24 is reserved for protocol assignments.
  ['192.0.0.0', 24],
  // AWS by IPv6: instances (::254) and the pod identity agent (::23).
  ['fd00:ec2::', 32],
  // Google Cloud by IPv6.
  ['fd20:ce::', 32],
  // Oracle Cloud, Scaleway and Akamai by IPv6.
  ['fd00:c1::', 32],
  ['fd00:42::', 32],
  ['fd00:a9fe:a9fe::', 48],
]);

/** Whether a URL leads to this machine, its network link or a metadata service by its very host. */
export function isLocalUrl(url: URL): boolean {
  return isLoopbackName(hostOf(url)) || isMetadataUrl(url) || anyAddress(url, OWN);
}

/** Whether a URL leads to a link-local address or a cloud's metadata service by its very host. */
export function isMetadataUrl(url: URL): boolean {
  return METADATA_NAME.test(hostOf(url)) || anyAddress(url, METADATA);
}

/** Whether an IP address is link-local or a cloud's metadata service, also where IPv6 carries it. */
export function isMetadataAddress(address: string): boolean {
  return addressesOf(address).some((candidate) => contains(METADATA, candidate));
}

/** Whether an IP address is of this machine, or no host's at all, also where IPv6 carries it. */
export function isOwnAddress(address: string): boolean {
  return addressesOf(address).some((candidate) => contains(OWN, candidate));
}

/** Whether a URL leads to this machine by its loopback address or a name that always has it. */
export function isLoopbackUrl(url: URL): boolean {
  const host = hostOf(url);
  return host === '::1' || host === 'localhost' || (isIPv4(host) && host.startsWith('127.'));
}

/** Whether a name is one that every machine gives to its loopback addresses. */
export function isLoopbackName(host: string): boolean {
  return LOOPBACK_NAME.test(host);
}

/** The host without brackets and final dot; URL has brought every way to write an address into one form. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.+$/, '');
}

function anyAddress(url: URL, list: BlockList): boolean {
  return addressesOf(hostOf(url)).some((address) => contains(list, address));
}

/** The address, and the IPv4 addresses that an IPv6 address carries by one of the transition mechanisms. */
function addressesOf(address: string): readonly string[] {
  if (isIP(address) === 0) return [];
  if (isIPv4(address)) return [address];
  const groups = groupsOf(address);
  const hex = groups.map((group) => group.toString(16).padStart(4, '0')).join(':');
  const carried: string[] = [];
  // Mapped and compatible (RFC 4291 2.5.5), translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), ISATAP (RFC 5214).
  if (
    /^(?:0000:){5}(?:0000|ffff):|^(?:0000:){4}ffff:0000:|^0064:ff9b:|:0[02]00:5efe:[0-9a-f]{4}:[0-9a-f]{4}$/.test(hex)
  ) {
    carried.push(dotted(groups[6]!, groups[7]!));
  }
  // 6to4 (RFC 3056) and Teredo (RFC 4380), which inverts the client's address.
  if (groups[0] === 0x2002) carried.push(dotted(groups[1]!, groups[2]!));
  if (groups[0] === 0x2001 && groups[1] === 0) {
    carried.push(dotted(groups[2]!, groups[3]!), dotted(groups[6]! ^ 0xffff, groups[7]! ^ 0xffff));
  }
  return [address, ...carried];
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const plain = address.replace(/%.*$/, '').replace(/\d+\.\d+\.\d+\.\d+$/, (dotted) => {
    const [a = 0, b = 0, c = 0, d = 0] = dotted.split('.').map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
  const [head = '', tail] = plain.split('::');
  const parse = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const before = parse(head);
  if (tail === undefined) return before;
  const after = parse(tail);
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

function contains(list: BlockList, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

function ranges(networks: readonly (readonly [network: string, prefix: number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of networks) list.addSubnet(network, prefix, isIPv4(network) ? 'ipv4' : 'ipv6');
  return list;
}
