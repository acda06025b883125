/** Certificates for TLS, from files that the user names. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { rootCertificates } from 'node:tls';
import { AccelError } from '../base/error.ts';
import type { RegistryOptions } from './registry-options.ts';

/** What node:tls takes: PEM texts, and whether a server must prove itself. */
export interface TlsSettings {
  readonly rejectUnauthorized?: boolean;
  readonly ca?: string[];
  readonly cert?: string[];
  readonly key?: string[];
}

/** Reads the certificates that the options name. Throws `usage`, naming the file that cannot be read. */
export async function loadTls(
  options: Pick<RegistryOptions, 'insecure' | 'rootCa' | 'certDir' | 'clientCert'>,
  env: Readonly<Record<string, string | undefined>>,
): Promise<TlsSettings> {
  const authorities = [...list(options.rootCa)];
  const clients = list(options.clientCert).map(splitClientCert);
  for (const directory of list(options.certDir)) {
    const names = (await reading(directory, () => readdir(directory))).sort();
    authorities.push(...names.filter((name) => name.endsWith('.crt')).map((name) => path.join(directory, name)));
    for (const name of names.filter((candidate) => candidate.endsWith('.cert'))) {
      const cert = path.join(directory, name);
      clients.push({ cert, key: cert.replace(/\.cert$/, '.key') });
    }
  }
  // A list of our own replaces node's, and with it what NODE_EXTRA_CA_CERTS had added.
  if (authorities.length > 0 && env.NODE_EXTRA_CA_CERTS) authorities.push(env.NODE_EXTRA_CA_CERTS);
  const ca = await Promise.all(authorities.map(readPem));
  const cert = await Promise.all(clients.map((client) => readPem(client.cert)));
  const key = await Promise.all(clients.map((client) => readPem(client.key)));
  return {
    ...(options.insecure ? { rejectUnauthorized: false } : {}),
    ...(ca.length > 0 ? { ca: [...rootCertificates, ...ca] } : {}),
    ...(cert.length > 0 ? { cert, key } : {}),
  };
}

function splitClientCert(text: string): { readonly cert: string; readonly key: string } {
  const colon = text.lastIndexOf(':');
  if (colon > 0 && colon < text.length - 1) return { cert: text.slice(0, colon), key: text.slice(colon + 1) };
  throw new AccelError('usage', 'a client certificate is two PEM files', { expected: 'CERT:KEY', found: text });
}

async function readPem(file: string): Promise<string> {
  const text = await reading(file, () => readFile(file, 'utf8'));
  if (text.includes('-----BEGIN ')) return text;
  throw new AccelError('usage', 'this is not a PEM file', {
    where: { path: file },
    expected: '-----BEGIN CERTIFICATE----- or a key',
  });
}

async function reading<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new AccelError('usage', 'a certificate cannot be read', { where: { path: file }, cause });
  }
}

function list(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}
