/** Certificates for TLS, from files that the user names. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import { AccelError, asAccelError } from '../base/error.ts';
import { readSmallFile } from '../disk/small-file.ts';
import type { Environment, HttpOptions, PemTexts } from './http-options.ts';
import { MAX_CERTIFICATE_FILE, systemAuthorities } from './trust-store.ts';

/** Settings for node:tls: certificates, and whether a server must prove itself. */
export interface TlsSettings {
  readonly rejectUnauthorized: boolean;
  readonly secureContext: SecureContext;
}

/** Options for the authorities to trust and for client certificates. */
export type TlsOptions = Pick<HttpOptions, 'insecure' | 'rootCa' | 'certDir' | 'clientCert' | 'pem' | 'warn'>;

/**
 * Reads the certificates that the options name. Throws `usage` with the name of a file that cannot be read, or that is not a
 * regular file. The returned function reads and parses the system's store on its first call, so plain HTTP never pays for it.
 */
export async function loadTls(options: TlsOptions, env: Environment): Promise<() => Promise<TlsSettings>> {
  const { pem } = options;
  if (pem !== undefined) return async () => ofTexts(pem, options, env);
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

/** Settings from texts alone. */
async function ofTexts({ ca, cert, key }: PemTexts, options: TlsOptions, env: Environment): Promise<TlsSettings> {
  const trusted = ca ?? (await systemAuthorities(env, (message) => options.warn?.(message)));
  return {
    rejectUnauthorized: options.insecure !== true,
    secureContext: createSecureContext({
      ca: typeof trusted === 'string' ? trusted : [...trusted],
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
    }),
  };
}

/** A colon after a single letter and before a slash, as in `C:\\dir` on Windows. */
const DRIVE = /(?<=^|:)[A-Za-z]:(?=[\\/])/g;

/**
 * Splits `CERT:KEY` into its two files. The colon of a Windows drive is not a separator; if several other colons remain, the
 * last one separates. Throws `usage`.
 */
export function splitClientCert(text: string): { readonly cert: string; readonly key: string } {
  const drives = new Set([...text.matchAll(DRIVE)].map(({ index }) => index + 1));
  const colons = [...text.matchAll(/:/g)].map(({ index }) => index).filter((at) => at > 0 && at < text.length - 1);
  // If every colon could belong to a drive, `c:/key.pem` is a file named c and a key: a single path would not be a pair.
  const colon =
    colons.findLast((at) => !drives.has(at)) ?? colons.findLast((at) => text[at + 1] === '/' && text[at - 2] !== ':');
  if (colon !== undefined) return { cert: text.slice(0, colon), key: text.slice(colon + 1) };
  throw new AccelError('usage', 'a client certificate is two PEM files', { expected: 'CERT:KEY', found: text });
}

async function readPem(file: string): Promise<string> {
  const bytes = await reading(file, () => readSmallFile(file, MAX_CERTIFICATE_FILE));
  const text = Buffer.from(bytes).toString('utf8');
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
    const { expected, found } = asAccelError(cause).details;
    throw new AccelError('usage', 'a certificate cannot be read', {
      where: { path: file },
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found }),
      cause,
    });
  }
}

function list(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}
