/** The certificate authorities that a machine trusts, beside those that Node brings along. */
import { readFile } from 'node:fs/promises';
import * as tls from 'node:tls';
import type { Environment } from './http-options.ts';

/** Where the distributions of Linux, the BSDs and macOS keep the bundle of what they trust; the first one counts. */
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

/** Node's own reader of the system's store: since 22.15 and 23.10, also on macOS and Windows. */
type CertificateReader = (type: 'default' | 'bundled' | 'system' | 'extra') => string[];

/** Where to look; tests give their own. */
export interface TrustSources {
  readonly bundles?: readonly string[];
  /** Undefined: whatever this Node has. Null: as on a Node that has none. */
  readonly reader?: CertificateReader | null;
}

/**
 * Every authority to trust as PEM texts: Node's own list, the system's store and NODE_EXTRA_CA_CERTS. SSL_CERT_FILE names
 * the bundle in place of the usual files, as for OpenSSL and Go. `warn` hears of a file that a variable names and that
 * cannot be read.
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
  // The types are those of the oldest Node that is supported.
  const known = reader === undefined ? (tls as { getCACertificates?: CertificateReader }).getCACertificates : reader;
  // A store that cannot be read leaves the usual files.
  const own = attempt(() => known?.('system')) ?? [];
  if (own.length > 0) return own;
  for (const file of bundles) {
    const found = await readFile(file, 'utf8').then(certificatesIn, () => []);
    if (found.length > 0) return found;
  }
  return [];
}

async function readNamed(variable: string, file: string, warn: (message: string) => void): Promise<readonly string[]> {
  try {
    return certificatesIn(await readFile(file, 'utf8'));
  } catch (error) {
    warn(`${variable} names certificates that cannot be read: ${error instanceof Error ? error.message : error}`);
    return [];
  }
}

/** The certificates of a bundle, without the comments between them. */
function certificatesIn(text: string): readonly string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined; // The caller has another way.
  }
}
