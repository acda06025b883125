/** Makes certificate authorities and the certificates that they sign. ECDSA P-256. */
import { createPrivateKey, type KeyObject, randomBytes, type webcrypto } from 'node:crypto';
import 'reflect-metadata';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import { AccelError } from '../../base/error.ts';

/** A certificate and its private key, in PEM. */
export interface PemPair {
  readonly cert: string;
  readonly key: string;
}

/** From when to when a certificate holds. */
export interface Validity {
  readonly from: Date;
  readonly to: Date;
}

/** A certificate to issue. */
export interface CertificateRequest {
  /** Common name. */
  readonly name: string;
  /** IP addresses and DNS names that it is for. */
  readonly hosts: readonly string[];
  /** URIs that it is for. */
  readonly uris?: readonly string[];
  readonly validity: Validity;
}

/** All keys of accel. */
export const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** Makes an authority. */
export async function createAuthority(name: string, { from, to }: Validity): Promise<PemPair> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=${name}`,
    notBefore: from,
    notAfter: to,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** Issues a certificate for servers and clients, signed by an authority. Throws `usage` for a key that cannot be used. */
export async function issueCertificate(authority: PemPair, request: CertificateRequest): Promise<PemPair> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  return { cert: await signCertificate(authority, keys.publicKey, request), key: await exportKey(keys.privateKey) };
}

/** Signs a certificate, in PEM, for a public key that somebody else has made. Throws `usage` for a key of the authority that cannot be used. */
export async function signCertificate(
  authority: PemPair,
  publicKey: x509.PublicKeyType,
  { name, hosts, uris = [], validity: { from, to } }: CertificateRequest,
): Promise<string> {
  const issuer = new x509.X509Certificate(authority.cert);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${name}`,
    issuer: issuer.subject,
    notBefore: from,
    notAfter: to,
    signingAlgorithm: ALGORITHM,
    publicKey,
    signingKey: await importKey(authority.key),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...uris.map((value) => ({ type: 'url' as const, value })),
        ...hosts.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })),
      ]),
      await identifierOf(issuer),
    ],
  });
  return certificate.toString('pem');
}

/** Names the issuer's key as its own certificate does: programs compute that name in several ways. */
async function identifierOf(issuer: x509.X509Certificate): Promise<x509.AuthorityKeyIdentifierExtension> {
  const own = issuer.getExtension(x509.SubjectKeyIdentifierExtension);
  return own === null
    ? x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey)
    : new x509.AuthorityKeyIdentifierExtension(own.keyId);
}

/** 127 random bits: positive, as RFC 5280 §4.1.2.2 wants it. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0]! &= 0x7f;
  bytes[0]! |= 0x01;
  return bytes.toString('hex');
}

/** A private key in PEM, PKCS #8. */
export async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const bytes = Buffer.from(await crypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${bytes.replace(/.{64}(?=.)/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
}

/** Reads a key of this module, or of another program: PKCS #8, or the older form of openssl and Helm (RFC 5915). */
function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const key = readKey(pem);
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve !== 'prime256v1') {
    throw new AccelError('usage', 'the key of the authority has another form than accel uses', {
      expected: 'ECDSA, curve P-256',
      found: [key.asymmetricKeyType, curve].filter((part) => part !== undefined).join(', '),
    });
  }
  return crypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), ALGORITHM, false, ['sign']);
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new AccelError('usage', 'the key of the authority cannot be read', {
      expected: 'a private key in PEM, without a passphrase',
      cause,
    });
  }
}
