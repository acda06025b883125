/** The certificates by which agents know each other: read from the configured files, and looked at before anything starts. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { AccelError } from '../../base/error.ts';
import { certificatesIn, type PemFile, readCertificates, readPrivateKey, unusable } from './pem-file.ts';
import { type Identity, isFor, isIssuedBy } from './pieces/attestation.ts';

/** Files of an identity, by the keys of `agent.peers.certificates`. */
export interface IdentityFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

const HINT = 'Make one with `accel agent certificates`, and copy ca.pem, cert.pem and key.pem of one folder.';

/** Reads an identity. Throws `usage`, with the key and the file, for a file that cannot be read or holds something else. */
export async function readIdentity(files: IdentityFiles): Promise<Identity> {
  const [ca, cert, key] = await Promise.all([
    readCertificates(fileOf(files, 'caFile')),
    readCertificates(fileOf(files, 'certFile')),
    readPrivateKey(fileOf(files, 'keyFile')),
  ]);
  return { ca, cert, key };
}

/**
 * Throws `usage`, with the key and the file, unless the three files of an identity belong together and are for the node `self`,
 * `ip:port`. Whether the certificate has ended is another question: {@link expiryOf}.
 */
export function assertFits({ ca, cert, key }: Identity, files: IdentityFiles, self: string): void {
  const own = new X509Certificate(cert);
  if (!own.checkPrivateKey(createPrivateKey(key))) {
    throw unfit(fileOf(files, 'keyFile'), `the private key of ${files.certFile}`, 'the key of another certificate');
  }
  if (!isIssuedBy(own, certificatesIn(ca))) {
    const issuer = own.issuer.split('\n').join(', ');
    const expected = `a certificate of the authority in ${files.caFile}`;
    throw unfit(fileOf(files, 'certFile'), expected, `one of another authority, ${issuer}`);
  }
  if (!isFor(own, self)) {
    const expected = `a certificate for ${self}, which is agent.advertise`;
    throw unfit(fileOf(files, 'certFile'), expected, own.subjectAltName ?? 'a certificate without names');
  }
}

/** Why a certificate does not hold at a time in milliseconds since 1970; undefined when it does. */
export function expiryOf({ cert }: Identity, now: number): string | undefined {
  const { validFrom, validTo } = new X509Certificate(cert);
  if (Date.parse(validTo) < now) return `it ended at ${validTo}`;
  return Date.parse(validFrom) > now ? `it begins at ${validFrom}` : undefined;
}

/** When a certificate ends, in milliseconds since 1970. */
export function endOf({ cert }: Identity): number {
  return Date.parse(new X509Certificate(cert).validTo);
}

/** The error for a certificate that does not hold now, as {@link expiryOf} says. */
export function expired(files: IdentityFiles, found: string): AccelError {
  return unfit(fileOf(files, 'certFile'), 'a certificate that holds now', found);
}

function fileOf(files: IdentityFiles, name: keyof IdentityFiles): PemFile {
  return { key: `agent.peers.certificates.${name}`, path: files[name] };
}

function unfit(file: PemFile, expected: string, found: string): AccelError {
  const { code, message, details } = unusable(file, expected, found);
  return new AccelError(code, message, { ...details, hint: HINT });
}
