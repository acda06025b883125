/** Reads the certificate authorities that a machine trusts in addition to the list built into Node. */
import * as tls from 'node:tls';
import { readSmallFile } from '../disk/small-file.ts';
import type { Environment } from './http-options.ts';

/** Largest file of certificates that is read, in bytes; a system's bundle has a few hundred kilobytes. */
export const MAX_CERTIFICATE_FILE = 16 << 20;

/** Paths of the system's bundle on Linux distributions, the BSDs and macOS; the first one with certificates is used. */
const BUNDLES: readonly string[] = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/var/lib/ca-certificates/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/usr/local/share/certs/ca-root-nss.crt',
  '/usr/local/etc/ssl/cert.pem',
  '/etc/ssl/cert.pem',
];

/** Node's own reader of the system's store, available since 22.15 and 23.10, also on macOS and Windows. */
type CertificateReader = (type: 'default' | 'bundled' | 'system' | 'extra') => string[];

/** Sources to read from; tests pass their own. */
export interface TrustSources {
  readonly bundles?: readonly string[];
  /** Undefined: the reader of this Node, if it has one. Null: behave like a Node without one. */
  readonly reader?: CertificateReader | null;
}

/**
 * Returns every trusted authority as PEM text: Node's own list, the system's store and NODE_EXTRA_CA_CERTS. SSL_CERT_FILE
 * replaces the system's store, as for OpenSSL and Go. Calls `warn` for a file that a variable names and that cannot be read.
 */
export async function systemAuthorities(
  env: Environment,
  warn: (message: string) => void,
  sources: TrustSources = {},
): Promise<readonly string[]> {
  const system = env.SSL_CERT_FILE
    ? await readNamed('SSL_CERT_FILE', env.SSL_CERT_FILE, warn)
    : await readSystem(sources);
  const extra = env.NODE_EXTRA_CA_CERTS ? await readNamed('NODE_EXTRA_CA_CERTS', env.NODE_EXTRA_CA_CERTS, warn) : [];
  return [...new Set([...tls.rootCertificates, ...system, ...extra].map((pem) => pem.trim()))];
}

async function readSystem({ bundles = BUNDLES, reader }: TrustSources): Promise<readonly string[]> {
  // The type definitions are those of the oldest supported Node.
  const known = reader === undefined ? (tls as { getCACertificates?: CertificateReader }).getCACertificates : reader;
  // If the store cannot be read, the usual files are tried.
  const own = attempt(() => known?.('system')) ?? [];
  if (own.length > 0) return own;
  for (const file of bundles) {
    const found = await readCertificates(file).catch(() => []);
    if (found.length > 0) return found;
  }
  return [];
}

async function readNamed(variable: string, file: string, warn: (message: string) => void): Promise<readonly string[]> {
  try {
    return await readCertificates(file);
  } catch (error) {
    warn(`${variable} names certificates that cannot be read: ${error instanceof Error ? error.message : error}`);
    return [];
  }
}

/** The certificates of a bundle, without the comments between them. */
async function readCertificates(file: string): Promise<readonly string[]> {
  // The usual way to name an empty bundle.
  if (file === '/dev/null') return [];
  const text = Buffer.from(await readSmallFile(file, MAX_CERTIFICATE_FILE)).toString('utf8');
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined; // The caller falls back to the files.
  }
}
