/** The repositories that a command is about: named one by one, listed in a file, or matched by patterns over a registry's catalogue. */
import { AccelError } from '../base/error.ts';
import { formatReference, parseReference, withoutTag } from '../oci/reference.ts';
import type { RegistryOptions } from '../oci/registry/registry-options.ts';
import { canonicalPattern, patternHost } from '../triggers/rules/match-rule.ts';
import { compilePattern } from '../triggers/rules/pattern.ts';
import { type ListLine, readListLines } from './list-lines.ts';

/** Names and patterns as the user gives them. */
export interface RepositoryWords {
  readonly names: readonly string[];
  /** A list of more of them: a file, or `-`. */
  readonly from?: string | undefined;
  readonly stdin: AsyncIterable<Uint8Array | string>;
}

/**
 * The repositories as `host[:port]/name`, each once: those that are named in their order, then those that patterns match, sorted. Throws
 * `usage` without any, for one with a tag, and for a pattern that matches none; `registry-error` where a registry has no catalogue.
 */
export async function findRepositoryNames(
  words: RepositoryWords,
  options: RegistryOptions & { readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const { names, from, stdin } = words;
  const listed: readonly ListLine[] = from === undefined ? [] : await readListLines(from, stdin);
  const all = [
    ...names.map((text) => ({ text, where: {} })),
    ...listed.map(({ line, text }) => ({ text, where: { line } })),
  ];
  if (all.length === 0) {
    throw new AccelError('usage', 'no repository is named', {
      expected: 'HOST/REPOSITORY, a pattern such as registry.example.com/team/*, or a list with --from FILE',
    });
  }
  const found = new Set<string>();
  for (const { text, where } of all.filter(({ text: one }) => !isPattern(one))) found.add(repositoryOf(text, where));
  const patterns = all.filter(({ text }) => isPattern(text)).map(({ text }) => canonicalPattern(text));
  const catalogues = new Map<string, readonly string[]>();
  for (const text of patterns) {
    const pattern = compilePattern(text);
    const host = patternHost(text);
    if (isPattern(host)) throw new AccelError('usage', 'a pattern here needs the name of a registry', { found: text });
    const known = catalogues.get(host) ?? (await catalogueOf(host, options));
    catalogues.set(host, known);
    const matching = known.filter((name) => pattern.matches(name));
    if (matching.length === 0) {
      throw new AccelError('usage', 'no repository matches this pattern', {
        where: { pattern: text },
        found: `${known.length} repositories of ${host}`,
      });
    }
    for (const name of matching) found.add(name);
  }
  return [...found];
}

function isPattern(text: string): boolean {
  return /[*?[{]/.test(text);
}

/** A repository by its canonical name; a layout on disk stays as it is. */
function repositoryOf(text: string, where: Readonly<Record<string, number>>): string {
  try {
    const reference = parseReference(text);
    if (reference.kind !== 'registry') return text;
    if (reference.tag === undefined && reference.digest === undefined) return formatReference(reference);
    const expected = formatReference(withoutTag(reference));
    throw new AccelError('usage', 'a whole repository is meant here, not one image', { expected, found: text });
  } catch (error) {
    if (!(error instanceof AccelError)) throw error;
    throw new AccelError(error.code, error.message, { ...error.details, where: { ...where, ...error.where } });
  }
}

async function catalogueOf(
  host: string,
  options: RegistryOptions & { readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const { listRepositories } = await import('../oci/registry/name-lists.ts');
  const names = await listRepositories(host, options);
  if (names !== undefined) return names.map((name) => `${host}/${name}`);
  throw new AccelError('registry-error', 'the registry has no catalogue, or not for this user', {
    where: { registry: host },
    hint: 'Name its repositories one by one, or in a list with --from FILE.',
  });
}
