/** Ways to reach registries: the configuration's list, as options of the OCI client. */
import { readFile } from 'node:fs/promises';
import { AccelError } from '../../base/error.ts';
import { isRecord } from '../../base/is-record.ts';
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

/** The text of a file of credentials. One that is no JSON object is being written: without it the registry would refuse, for good. */
async function readCredentials(path: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new AccelError('io-error', 'the file of credentials cannot be read', {
      where: { path },
      found: (cause as Error).message,
      cause,
    });
  }
  if (isJsonObject(text)) return text;
  throw new AccelError('io-error', 'the file of credentials is not a JSON object', {
    where: { path },
    expected: '{"auths": …}, as docker login writes it',
    found: `${text.length} characters of something else`,
  });
}

function isJsonObject(text: string): boolean {
  try {
    return isRecord(JSON.parse(text));
  } catch {
    // The parser's message quotes the text, which has secrets.
    return false;
  }
}
