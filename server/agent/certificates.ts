/** Certificates of agents: a URI (`accel-agent:ip:port`) names the node, beside its address. */
import { isIP } from 'node:net';
import { issueCertificate, type PemPair, type Validity } from '../certificates/authority.ts';

/** Makes the certificate of a node, `ip:port`, signed by an authority. Rejects for PEM that cannot be read. */
export function issueNodeCertificate(authority: PemPair, node: string, validity: Validity): Promise<PemPair> {
  const address = node.slice(0, node.lastIndexOf(':')).replace(/^\[|\]$/g, '');
  return issueCertificate(authority, {
    name: `accel agent ${node.replace(/[^0-9a-zA-Z.:[\]-]/g, '')}`,
    hosts: isIP(address) === 0 ? [] : [address],
    uris: [`accel-agent:${node}`],
    validity,
  });
}
