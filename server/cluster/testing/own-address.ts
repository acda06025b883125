/** An address of this machine for agents of tests: EndpointSlices take none of loopback. */
import { networkInterfaces } from 'node:os';

/** The first IPv4 address that is not of loopback. Throws on a machine without one. */
export function ownAddress(): string {
  const found = Object.values(networkInterfaces())
    .flat()
    .find((one) => one?.family === 'IPv4' && !one.internal && !one.address.startsWith('169.254.'));
  if (found === undefined)
    throw new Error('this machine has no IPv4 address beside loopback, which EndpointSlices need');
  return found.address;
}
