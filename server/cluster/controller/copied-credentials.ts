/** Makes the document of a copied pull secret: the same credentials for the names by which images go through the agents. Pure. */
import { hostMatches, registryKey } from '../../config/image-match.ts';

/** A document of Docker's form with its entries. */
interface DockerConfig {
  readonly auths: Readonly<Record<string, unknown>>;
}

/** Reads a document of Docker's form; undefined for any other text. */
export function dockerConfigOf(text: string): DockerConfig | undefined {
  try {
    const config = JSON.parse(text) as Partial<DockerConfig> | null;
    const auths = config?.auths;
    return typeof auths === 'object' && auths !== null && !Array.isArray(auths) ? (config as DockerConfig) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The copy's document: each entry for a registry that goes through the agents is for the agents' name of it, with the same path; all
 * else stays. Undefined where no entry is for such a registry, or the text is no document of Docker's form.
 *
 * @param hosts - The agents' names by the registry's host.
 */
export function copiedCredentials(text: string, hosts: ReadonlyMap<string, string>): string | undefined {
  const config = dockerConfigOf(text);
  if (config === undefined) return undefined;
  const auths = new Map<string, unknown>();
  let hasMapped = false;
  for (const [key, value] of Object.entries(config.auths)) {
    const { host, path } = registryKey(key);
    // A key with globs may be for several registries.
    const names = [...hosts].filter(([registry]) => hostMatches(host, registry)).map(([, name]) => name);
    hasMapped ||= names.length > 0;
    if (names.length === 0) auths.set(key, value);
    for (const name of names) auths.set(path === '' ? name : `${name}/${path}`, value);
  }
  return hasMapped ? JSON.stringify({ ...config, auths: Object.fromEntries(auths) }) : undefined;
}
