/** Pull secrets: the names of their copies for the agents. */

/** Type of the secrets that have copies. */
export const DOCKER_CONFIG_TYPE = 'kubernetes.io/dockerconfigjson';
/** Key of their data. */
export const DOCKER_CONFIG_KEY = '.dockerconfigjson';
/** Longest name of a secret. */
const MAX_NAME = 253;
const COPY = /^acr-credential-.+-p2p$/;

/** The name of a secret's copy; undefined for a copy, and where the name would be too long. */
export function copyName(name: string): string | undefined {
  const copy = `acr-credential-${name}-p2p`;
  return isCopyName(name) || copy.length > MAX_NAME ? undefined : copy;
}

/** Whether a secret is a copy by its name; copies are never copied. */
export function isCopyName(name: string): boolean {
  return COPY.test(name);
}

/** The keys of `auths` in a document of Docker's form; undefined for what is no such document. */
export function registriesOf(text: string): readonly string[] | undefined {
  try {
    const { auths } = JSON.parse(text) as { readonly auths?: unknown };
    return typeof auths === 'object' && auths !== null && !Array.isArray(auths) ? Object.keys(auths) : undefined;
  } catch {
    return undefined;
  }
}
