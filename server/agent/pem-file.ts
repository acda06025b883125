/** Reads PEM files that the configuration names. An error has the key, the file, what is expected and what was found. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { AccelError } from '../../base/error.ts';

/** A PEM file, and the key of the configuration that names it. */
export interface PemFile {
  readonly key: string;
  readonly path: string;
}

/** Largest file that is read: a bundle of all public authorities is a quarter of it. */
const MAX_BYTES = 1024 * 1024;
const CERTIFICATE = 'a PEM file with a certificate (-----BEGIN CERTIFICATE-----)';
const PRIVATE_KEY = 'a PEM file with a private key without passphrase (-----BEGIN PRIVATE KEY-----)';

/** The text of a file of certificates. Throws `usage` for a file that has none. */
export async function readCertificates(file: PemFile): Promise<string> {
  const text = await read(file, CERTIFICATE);
  let found: readonly X509Certificate[];
  try {
    found = certificatesIn(text);
  } catch (cause) {
    throw unusable(file, CERTIFICATE, 'a damaged certificate', cause);
  }
  if (found.length === 0) throw unusable(file, CERTIFICATE, contentOf(text));
  return text;
}

/** All certificates of a PEM text. Throws the system's error for one that is damaged. */
export function certificatesIn(text: string): readonly X509Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*(-----END CERTIFICATE-----)?/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** The text of a file with a private key. Throws `usage` for a file that has none, or one with a passphrase. */
export async function readPrivateKey(file: PemFile): Promise<string> {
  const text = await read(file, PRIVATE_KEY);
  try {
    createPrivateKey(text);
    return text;
  } catch (cause) {
    const isEncrypted = /ENCRYPTED/.test(text);
    const isKey = /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text);
    const found = isEncrypted ? 'a key with a passphrase' : isKey ? 'a damaged private key' : contentOf(text);
    throw unusable(file, PRIVATE_KEY, found, cause);
  }
}

/** The error for a file that cannot be used. */
export function unusable({ key, path }: PemFile, expected: string, found: string, cause?: unknown): AccelError {
  return new AccelError('usage', 'a file of certificates cannot be used', {
    where: { key, file: path },
    expected,
    found,
    ...(cause === undefined ? {} : { cause }),
  });
}

async function read(file: PemFile, expected: string): Promise<string> {
  try {
    const text = await readFile(file.path, 'utf8');
    if (text.length > MAX_BYTES) throw unusable(file, expected, `${text.length} bytes`);
    return text;
  } catch (cause) {
    if (cause instanceof AccelError) throw cause;
    throw unusable(file, expected, reasonOf(cause), cause);
  }
}

function reasonOf(error: unknown): string {
  const { code = 'an error' } = error as NodeJS.ErrnoException;
  const words: Readonly<Record<string, string>> = {
    ENOENT: 'no such file',
    ENOTDIR: 'no such file',
    EISDIR: 'a folder',
    EACCES: 'a file that this user may not read',
  };
  return words[code] ?? code;
}

/** Names the content of a file in place of what was expected; never its text. */
function contentOf(text: string): string {
  if (text.trim() === '') return 'an empty file';
  const label = /-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(text)?.[1];
  return label === undefined ? 'a file without a PEM block' : `a block of ${label}`;
}
