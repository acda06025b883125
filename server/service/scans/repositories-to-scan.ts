/** Finds the repositories that rules and patterns mean: those that they name, and those of the registries' catalogues that they match. */

import { asAccelError } from '../../../base/error.ts';
import { listRepositories } from '../../../oci/registry/name-lists.ts';
import type { RuleSet } from '../../../triggers/rules/match-rule.ts';
import { type RegistryAccess, registryOptions } from '../../config/registry-access.ts';
import { failureText } from '../failure-text.ts';
/** Repositories, and the registries whose catalogue could not be read. */
export interface RepositoriesToScan {
  /** `host[:port]/repository`, sorted. */
  readonly repositories: readonly string[];
  /** One line for each registry, for people. */
  readonly problems: readonly string[];
}

/** A pattern of repositories, `HOST/REPOSITORY` with wildcards. */
export interface ScanPattern {
  readonly text: string;
  matches(repository: string): boolean;
}

/**
 * Finds the repositories. A pattern without a wildcard names one; for the others the catalogue of their registry is read, where their
 * first part has a wildcard those of all configured registries. Only repositories that a rule covers count.
 */
export async function repositoriesToScan(
  patterns: readonly ScanPattern[],
  { rules, registries }: { readonly rules: RuleSet; readonly registries: readonly RegistryAccess[] },
  signal: AbortSignal,
): Promise<RepositoriesToScan> {
  const found = new Set<string>();
  const problems: string[] = [];
  const hosts = new Set<string>();
  for (const { text } of patterns) {
    const [host = ''] = text.split('/', 1);
    if (!isWild(text)) found.add(text);
    else if (!isWild(host)) hosts.add(host);
    else for (const registry of registries) hosts.add(registry.host);
  }
  for (const host of hosts) {
    try {
      const options = await registryOptions(registries, `${host}/`);
      const names = await listRepositories(host, { ...options, signal });
      if (names === undefined)
        problems.push(`${host} has no catalogue: name its repositories in the rules without wildcards`);
      for (const name of names ?? []) {
        const repository = `${host}/${name}`;
        if (patterns.some((pattern) => pattern.matches(repository))) found.add(repository);
      }
    } catch (error) {
      signal.throwIfAborted();
      problems.push(`${host}: ${failureText(asAccelError(error))}`);
    }
  }
  const repositories = [...found].filter((repository) => rules.match({ repository }).rule !== undefined).sort();
  return { repositories, problems };
}

function isWild(text: string): boolean {
  return /[*?[{]/.test(text);
}

const REGISTRY_FAILURES: readonly string[] = [
  'not-found',
  'unauthorized',
  'registry-unreachable',
  'registry-error',
  'timed-out',
  'limit-exceeded',
  'manifest-invalid',
  'image-unsupported',
];

/** Whether a code is that of a failure of one registry or repository, which does not end a scan of the others. */
export function isRegistryFailure(code: string): boolean {
  return REGISTRY_FAILURES.includes(code);
}
