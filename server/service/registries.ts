/** Ways to reach registries: the configuration's list, as options of the OCI client. */
import { readFile } from 'node:fs/promises';
import { AccelError } from '../../base/error.ts';
import type { OpenOptions } from '../../oci/open.ts';

/** An entry of `registries` in the configuration. Paths in place of secrets, so that it may be sent to another process. */
export interface RegistryAccess {
  readonly host: string;
  readonly plain: boolean;
  readonly credentialsFile?: string | undefined;
  readonly caFile?: string | undefined;
}

/**
 * Options for the registry of a repository, `host[:port]/name`. Files are read at each call: credentials rotate. Throws `io-error` for
 * one that cannot be read.
 */
export async function registryOptions(registries: readonly RegistryAccess[], repository: string): Promise<OpenOptions> {
  const host = repository.slice(0, repository.indexOf('/'));
  const access = registries.find((one) => one.host === host);
  if (access === undefined) return {};
  const { plain, caFile, credentialsFile } = access;
  return {
    ...(plain ? { plain } : {}),
    ...(caFile === undefined ? {} : { rootCa: caFile }),
    ...(credentialsFile === undefined
      ? {}
      : { env: { ...process.env, DOCKER_AUTH_CONFIG: await readCredentials(credentialsFile) } }),
  };
}

async function readCredentials(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AccelError('io-error', 'the file of credentials cannot be read', {
      where: { path },
      found: (cause as Error).message,
      cause,
    });
  }
}
