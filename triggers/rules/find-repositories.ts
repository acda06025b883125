/** Finds the repositories that rules and patterns mean: those that they name, and those of the registries' catalogues that they match. */
import { type AccelError, asAccelError } from '../../base/error.ts';
import { listRepositories } from '../../oci/registry/name-lists.ts';
import type { RegistryOptions } from '../../oci/registry/registry-options.ts';
import type { RuleSet } from './match-rule.ts';

/** A pattern of repositories, `HOST/REPOSITORY` with wildcards. */
export interface ScanPattern {
  readonly text: string;
  matches(repository: string): boolean;
}

/** Registries to look at. */
export interface Registries {
  /** Those whose catalogue is read for a pattern that names no host. */
  readonly hosts: readonly string[];
  /** Options for one. */
  readonly options: (host: string) => Promise<RegistryOptions>;
}

/** A registry whose catalogue could not be read; without an error it has none. */
export interface UnreadCatalogue {
  readonly host: string;
  readonly error?: AccelError;
}

/** Repositories, and the registries whose catalogue could not be read. */
export interface FoundRepositories {
  /** `host[:port]/repository`, sorted. */
  readonly repositories: readonly string[];
  readonly unread: readonly UnreadCatalogue[];
}

/**
 * Finds the repositories. A pattern without a wildcard names one; for the others the catalogue of their registry is read.
 * Where rules are given, only repositories that one covers count. Throws the signal's reason.
 */
export async function findRepositories(
  patterns: readonly ScanPattern[],
  { rules, registries }: { readonly rules?: RuleSet; readonly registries: Registries },
  signal: AbortSignal,
): Promise<FoundRepositories> {
  const found = new Set<string>();
  const unread: UnreadCatalogue[] = [];
  const hosts = new Set<string>();
  for (const { text } of patterns) {
    const [host = ''] = text.split('/', 1);
    if (!isWild(text)) found.add(text);
    else if (!isWild(host)) hosts.add(host);
    else for (const known of registries.hosts) hosts.add(known);
  }
  for (const host of hosts) {
    try {
      const names = await listRepositories(host, { ...(await registries.options(host)), signal });
      if (names === undefined) unread.push({ host });
      for (const name of names ?? []) {
        const repository = `${host}/${name}`;
        if (patterns.some((pattern) => pattern.matches(repository))) found.add(repository);
      }
    } catch (error) {
      signal.throwIfAborted();
      unread.push({ host, error: asAccelError(error) });
    }
  }
  const isCovered = (repository: string): boolean => rules?.match({ repository }).rule !== undefined;
  const repositories = [...found].filter((repository) => rules === undefined || isCovered(repository)).sort();
  return { repositories, unread };
}

function isWild(text: string): boolean {
  return /[*?[{]/.test(text);
}
