/** Certificates for TLS, from files that the user names. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import { AccelError } from '../base/error.ts';
import type { Environment, HttpOptions } from './http-options.ts';
import { systemAuthorities } from './trust-store.ts';

/** What node:tls takes: certificates, and whether a server must prove itself. */
export interface TlsSettings {
  readonly rejectUnauthorized: boolean;
  readonly secureContext: SecureContext;
}

/** Options that say whom to trust, and who we are. */
export type TlsOptions = Pick<HttpOptions, 'insecure' | 'rootCa' | 'certDir' | 'clientCert' | 'warn'>;

/**
 * Reads the certificates that the options name; throws `usage` with the name of a file that cannot be read. The system's
 * store is read, and all of it parsed, by the function that is returned: once, and not at all where nothing speaks TLS.
 */
export async function loadTls(options: TlsOptions, env: Environment): Promise<() => Promise<TlsSettings>> {
  const authorities = [...list(options.rootCa)];
  const clients = list(options.clientCert).map((text) => splitClientCert(text));
  for (const directory of list(options.certDir)) {
    const names = (await reading(directory, () => readdir(directory))).sort();
    authorities.push(...names.filter((name) => name.endsWith('.crt')).map((name) => path.join(directory, name)));
    for (const name of names.filter((candidate) => candidate.endsWith('.cert'))) {
      const cert = path.join(directory, name);
      clients.push({ cert, key: cert.replace(/\.cert$/, '.key') });
    }
  }
  const ca = await Promise.all(authorities.map(readPem));
  const cert = await Promise.all(clients.map((client) => readPem(client.cert)));
  const key = await Promise.all(clients.map((client) => readPem(client.key)));
  let settings: Promise<TlsSettings> | undefined;
  const read = async (): Promise<TlsSettings> => {
    const trusted = await systemAuthorities(env, (message) => options.warn?.(message));
    return {
      rejectUnauthorized: options.insecure !== true,
      secureContext: createSecureContext({ ca: [...trusted, ...ca], ...(cert.length > 0 ? { cert, key } : {}) }),
    };
  };
  return () => {
    settings ??= read();
    return settings;
  };
}

/** A colon after a single letter and before a slash: Windows' `C:\\dir`. */
const DRIVE = /(?<=^|:)[A-Za-z]:(?=[\\/])/g;

/**
 * The two files of `CERT:KEY`. A colon of a Windows drive divides nothing; a path may hold other colons, then the last one
 * divides. Throws `usage`.
 */
export function splitClientCert(text: string): { readonly cert: string; readonly key: string } {
  const drives = new Set([...text.matchAll(DRIVE)].map(({ index }) => index + 1));
  const colons = [...text.matchAll(/:/g)].map(({ index }) => index).filter((at) => at > 0 && at < text.length - 1);
  // Where every colon could be a drive's, `c:/key.pem` is a file named c and a key: a drive alone would be no pair.
  const colon =
    colons.findLast((at) => !drives.has(at)) ?? colons.findLast((at) => text[at + 1] === '/' && text[at - 2] !== ':');
  if (colon !== undefined) return { cert: text.slice(0, colon), key: text.slice(colon + 1) };
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
