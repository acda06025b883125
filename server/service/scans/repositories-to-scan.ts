/** Finds the repositories that rules and patterns mean, with what could not be read in words. */
import { findRepositories, type ScanPattern } from '../../../triggers/rules/find-repositories.ts';
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

/** Finds the repositories, in the catalogues of all configured registries for a pattern that names no host. */
export async function repositoriesToScan(
  patterns: readonly ScanPattern[],
  { rules, registries }: { readonly rules: RuleSet; readonly registries: readonly RegistryAccess[] },
  signal: AbortSignal,
): Promise<RepositoriesToScan> {
  const reach = {
    hosts: registries.map(({ host }) => host),
    options: (host: string) => registryOptions(registries, `${host}/`),
  };
  const { repositories, unread } = await findRepositories(patterns, { rules, registries: reach }, signal);
  const problems = unread.map(({ host, error }) =>
    error === undefined
      ? `${host} has no catalogue: name its repositories in the rules without wildcards`
      : `${host}: ${failureText(error)}`,
  );
  return { repositories, problems };
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
