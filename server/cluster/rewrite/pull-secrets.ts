/** Pull secrets: which images one is for, by kubelet's rules, and the names of their copies for the agents. */
import { DOCKER_HUB } from '../../../oci/reference.ts';
import type { ImageName } from './image-name.ts';

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

/** A key of `auths`, without scheme and the paths that Docker's clients write. */
export function registryKey(key: string): { readonly host: string; readonly path: string } {
  const bare = key.replace(/^https?:\/\//, '');
  const slash = bare.indexOf('/');
  const host = (slash < 0 ? bare : bare.slice(0, slash)).toLowerCase();
  const path = slash < 0 ? '' : bare.slice(slash + 1).replace(/\/$/, '');
  return { host, path: /^v[12]$/.test(path) ? '' : path };
}

/**
 * Whether kubelet uses an entry for an image (pkg/credentialprovider, URLsMatch): as many parts of the host, each a glob, the same
 * port, and a path that the repository begins with.
 */
export function coversImage(key: string, image: Pick<ImageName, 'registry' | 'repository'>): boolean {
  const { host, path } = registryKey(key);
  return hostMatches(host, image.registry) && `${image.repository}/`.startsWith(path === '' ? '' : `${path}/`);
}

/** Whether the host of an entry, which may have globs, is that of a registry. */
export function hostMatches(pattern: string, registry: string): boolean {
  if (registry === DOCKER_HUB && ['docker.io', 'index.docker.io', 'registry.hub.docker.com'].includes(pattern))
    return true;
  const [patternHost = '', patternPort = ''] = pattern.split(':');
  const [host = '', port = ''] = registry.split(':');
  if (patternPort !== port) return false;
  const globs = patternHost.split('.');
  const parts = host.split('.');
  return globs.length === parts.length && globs.every((glob, index) => globMatches(glob, parts[index] ?? ''));
}

function globMatches(glob: string, part: string): boolean {
  if (!/[*?]/.test(glob)) return glob === part;
  const pattern = [...glob].map((one) =>
    one === '*' ? '.*' : one === '?' ? '.' : one.replace(/[\\^$.+()[\]{}|]/, '\\$&'),
  );
  return new RegExp(`^${pattern.join('')}$`).test(part);
}
