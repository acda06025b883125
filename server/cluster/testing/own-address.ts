/** An address of this machine for agents of tests: EndpointSlices take none of loopback, and no link-local ones. */
import { networkInterfaces } from 'node:os';

/** The first such IPv4 address; undefined on a machine without one, where `address` of describeWithCluster leaves a suite out by name. */
export function ownAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flat();
  return all.find((one) => one?.family === 'IPv4' && !one.internal && !one.address.startsWith('169.254.'))?.address;
}
