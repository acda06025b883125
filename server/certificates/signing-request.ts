/** Requests for certificates (PKCS #10): whoever asks makes a key and proves to have it; whoever signs takes names from it and nothing else. */
import type { webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { AccelError } from '../../base/error.ts';
import { ALGORITHM, exportKey } from './authority.ts';

/** A request and the key that it is for, in PEM. */
export interface SigningRequest {
  readonly request: string;
  readonly key: string;
}

/** A request that was read: the key, and the URIs that it asks for. */
export interface ReadRequest {
  readonly publicKey: x509.PublicKey;
  readonly uris: readonly string[];
}

/** Longest request, in characters: one of accel has about 500. */
const MAX_LENGTH = 8192;
/** Most names of a request. */
const MAX_NAMES = 16;

/** Makes a key, ECDSA P-256, and a request for a certificate that names a URI. */
export async function createSigningRequest(name: string, uri: string): Promise<SigningRequest> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: uri }])],
  });
  return { request: request.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** Reads a request. Throws `usage` for one that is damaged, too long, for another kind of key, or not signed by its own key. */
export async function readSigningRequest(pem: string): Promise<ReadRequest> {
  if (pem.length > MAX_LENGTH) throw unusable(`${pem.length} characters`);
  let request: x509.Pkcs10CertificateRequest;
  let isProven: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(pem);
    isProven = await request.verify();
  } catch (cause) {
    throw unusable('something else', cause);
  }
  if (!isProven) throw unusable('a request that another key has signed');
  const { algorithm } = request.publicKey;
  if (algorithm.name !== 'ECDSA' || (algorithm as webcrypto.EcKeyAlgorithm).namedCurve !== 'P-256') {
    throw unusable(`a key of ${algorithm.name}`);
  }
  const isNames = (one: x509.Extension): one is x509.SubjectAlternativeNameExtension =>
    one instanceof x509.SubjectAlternativeNameExtension;
  const names = request.extensions.find(isNames)?.names.items ?? [];
  if (names.length > MAX_NAMES) throw unusable(`${names.length} names`);
  return {
    publicKey: request.publicKey,
    uris: names.filter(({ type }) => type === 'url').map(({ value }) => value),
  };
}

function unusable(found: string, cause?: unknown): AccelError {
  return new AccelError('usage', 'a request for a certificate cannot be used', {
    expected: 'a PKCS #10 request in PEM with a key of ECDSA, curve P-256, that has signed it',
    found,
    ...(cause === undefined ? {} : { cause }),
  });
}
