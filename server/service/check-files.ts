/**
 * The files of the configuration that are read later, for each registry or conversion: looked at before the service starts, so that a
 * wrong path is an error of the start and not of the first image.
 */
import { X509Certificate } from 'node:crypto';
import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { AccelError } from '../../base/error.ts';
import type { Config } from '../config/schema.ts';

/** Checks the files of `registries`. Throws `usage`, with the key, for one that is missing, unreadable or of another form. */
export async function checkRegistryFiles(registries: Config['registries']): Promise<void> {
  for (const [index, { caFile, credentialsFile }] of registries.entries()) {
    const key = `registries[${index}]`;
    if (caFile !== undefined) await checkAuthorities(caFile, `${key}.caFile`);
    if (credentialsFile !== undefined) await checkCredentials(credentialsFile, `${key}.credentialsFile`);
  }
}

/** Checks `service.workDirectory`. Throws `usage` where nothing can be written there. */
export async function checkWorkDirectory({ workDirectory }: Config['service']): Promise<void> {
  if (workDirectory === undefined) return;
  const found = await stat(workDirectory)
    .then(async (facts) => {
      if (!facts.isDirectory()) return 'a file';
      await access(workDirectory, constants.W_OK | constants.X_OK);
      return undefined;
    })
    .catch((error: NodeJS.ErrnoException) => error.code ?? 'an error');
  if (found === undefined) return;
  throw unusable('service.workDirectory', workDirectory, {
    expected: 'a folder that this process may write to',
    found,
  });
}

async function checkAuthorities(path: string, key: string): Promise<void> {
  const text = await readText(path, key);
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const expected = 'certificates, PEM';
  if (certificates.length === 0) throw unusable(key, path, { expected, found: 'no certificate' });
  for (const [index, certificate] of certificates.entries()) {
    try {
      new X509Certificate(certificate);
    } catch {
      throw unusable(key, path, { expected, found: `certificate ${index + 1} cannot be read` });
    }
  }
}

async function checkCredentials(path: string, key: string): Promise<void> {
  const expected = "JSON in the form of Docker's config.json";
  const text = await readText(path, key);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The message of the parser quotes the file, and there are passwords in it.
    throw unusable(key, path, { expected, found: 'no JSON' });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw unusable(key, path, { expected, found: 'other JSON' });
}

async function readText(path: string, key: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw unusable(key, path, { expected: 'a file that this process may read', found: error.code ?? 'an error' });
  });
}

function unusable(key: string, path: string, facts: { readonly expected: string; readonly found: string }): AccelError {
  return new AccelError('usage', 'a path of the configuration cannot be used', { where: { key, path }, ...facts });
}
