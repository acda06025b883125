/** The images that an entry of a pull secret or a pattern of kubelet's configuration is for. */
import { DOCKER_HUB } from '../../oci/reference.ts';

/** A registry and a repository in it. */
export interface ImagePlace {
  /** HOST[:PORT]. */
  readonly registry: string;
  readonly repository: string;
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
 * port, and a path that the repository begins with, also in the middle of a part.
 */
export function coversImage(key: string, image: ImagePlace): boolean {
  const { host, path } = registryKey(key);
  return hostMatches(host, image.registry) && image.repository.startsWith(path);
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
