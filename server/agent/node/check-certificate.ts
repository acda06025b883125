/** Checks of certificates: this node's own files, what the running agent shows, and what a peer shows and accepts. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { connect, createSecureContext, type TLSSocket } from 'node:tls';
import { PING_PATH } from '../peers/wire.ts';
import { type Identity, isFor } from '../pieces/attestation.ts';
import { type Check, failed, ok, warning } from './node-check.ts';
import { probe, reasonOf } from './probe.ts';

const DAY = 86_400_000;
const RENEW_DAYS = 14;
/** Milliseconds for a handshake and one answer. */
const PATIENCE = 5_000;
const RENEW = 'Make a new one with accel agent certificates, copy it here, then systemctl reload accel-agent.';

/** A fault of the certificates of a connection. */
export type CertificateFault =
  /** The other side speaks in the clear. */
  | 'no TLS'
  /** Its certificate is not trusted, or for another node. */
  | 'theirs'
  /** It closes the connection on which this node's certificate came. */
  | 'ours';

/** A look at a node's TLS. */
export interface CertificateLook {
  /** SHA-256 of its certificate, as OpenSSL prints it. */
  readonly fingerprint?: string;
  readonly fault?: CertificateFault;
  /** The fault in words. */
  readonly reason?: string;
}

/** Checks the files of this node's certificate: for whom, by whom, and how long. */
export function checkOwnCertificate({ ca, cert, key }: Identity, id: string): Check {
  const name = 'certificate';
  try {
    const own = new X509Certificate(cert);
    const left = Math.floor((Date.parse(own.validTo) - Date.now()) / DAY);
    if (!isFor(own, id)) return failed(name, `it is not for ${id}, the address in agent.advertise`, RENEW);
    if (!own.checkPrivateKey(createPrivateKey(key))) return failed(name, 'its key is another one', RENEW);
    const isKnown = authoritiesIn(ca).some((one) => own.checkIssued(one) && own.verify(one.publicKey));
    if (!isKnown) return failed(name, 'it is not from the authority in caFile', RENEW);
    if (Date.parse(own.validFrom) > Date.now()) return failed(name, `it begins at ${own.validFrom}`, 'Set the clock.');
    if (left < 0) return failed(name, `it ended at ${own.validTo}`, RENEW);
    if (left < RENEW_DAYS) return warning(name, `it ends in ${left} days, at ${own.validTo}`, RENEW);
    return ok(name, `it ends in ${left} days`);
  } catch (error) {
    return failed(name, reasonOf(error), RENEW);
  }
}

/** Checks that the agent that runs uses the files that were looked at; nothing where it does not answer. */
export async function checkRunningCertificate(identity: Identity, address: string): Promise<readonly Check[]> {
  const name = 'certificate of the running agent';
  const { fault, fingerprint } = await lookAtCertificate(address, '', identity);
  if (fault === 'no TLS') {
    const fix = 'systemctl reload accel-agent, if its configuration has certificates since.';
    return [failed(name, `the agent at ${address} speaks in the clear, and the configuration has certificates`, fix)];
  }
  if (fingerprint === undefined) return [];
  const own = new X509Certificate(identity.cert).fingerprint256;
  return [
    own === fingerprint
      ? ok(name, 'the one of certFile')
      : failed(
          name,
          'it is another one than that of certFile',
          'systemctl reload accel-agent: it reads the files again.',
        ),
  ];
}

/**
 * Speaks TLS with an agent as this node, and asks for a sign of life. `id` is who it has to be; nobody in particular where it is
 * empty. A fault is named only where it is sure.
 */
export async function lookAtCertificate(address: string, id: string, identity: Identity): Promise<CertificateLook> {
  const look = await speakTls(address, id, identity);
  if (look !== undefined) return look;
  const isClear = await probe(`http://${address}${PING_PATH}`).then(
    () => true,
    () => false,
  );
  return isClear ? { fault: 'no TLS', reason: 'it speaks in the clear' } : {};
}

/** See {@link lookAtCertificate}; undefined where no handshake ends well. */
function speakTls(address: string, id: string, identity: Identity): Promise<CertificateLook | undefined> {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    let look: CertificateLook | undefined;
    let socket: TLSSocket | undefined;
    const end = (result: CertificateLook | undefined) => {
      clearTimeout(timer);
      socket?.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end(look), PATIENCE);
    // Node's servers end the connection of a certificate that they refuse, after the handshake and without a word.
    const closed = () => end(look && { fault: 'ours', reason: "it refuses this node's certificate", ...look });
    try {
      const secureContext = createSecureContext({ ...identity, minVersion: 'TLSv1.3' });
      const target = { host, port: Number(address.slice(colon + 1)), secureContext };
      // The name is checked below; what is wrong with the certificate is to be seen, not only that it is refused.
      socket = connect({ ...target, rejectUnauthorized: false, checkServerIdentity: () => undefined });
    } catch {
      // Files that are no certificates are the business of the check above.
      return end({});
    }
    socket.on('secureConnect', () => {
      look = judge(socket!, id, identity.ca);
      if (look.fault !== undefined) return end(look);
      socket!.write(`GET ${PING_PATH} HTTP/1.1\r\nhost: ${address}\r\nconnection: close\r\n\r\n`);
    });
    socket.on('data', () => end(look));
    socket.on('error', closed);
    socket.on('close', closed);
  });
}

function judge(socket: TLSSocket, id: string, ca: string): CertificateLook {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return {};
  const fingerprint = certificate.fingerprint256;
  const theirs = (reason: string): CertificateLook => ({ fingerprint, fault: 'theirs', reason });
  if (Date.parse(certificate.validTo) < Date.now()) return theirs(`its certificate ended at ${certificate.validTo}`);
  if (!socket.authorized) {
    const isIssued = authoritiesIn(ca).some((one) => certificate.checkIssued(one) && certificate.verify(one.publicKey));
    const why = isIssued
      ? `is not valid (${String(socket.authorizationError)})`
      : 'is from another authority than caFile';
    return theirs(`its certificate ${why}`);
  }
  if (id !== '' && !isFor(certificate, id)) {
    return theirs(`its certificate is for ${certificate.subjectAltName ?? 'nobody'}, not for ${id}`);
  }
  return { fingerprint };
}

function authoritiesIn(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}
