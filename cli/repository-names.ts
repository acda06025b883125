/** The repositories that a command is about: named one by one, listed in files, or matched by patterns over a registry's catalogue. */
import { AccelError, type ErrorPlace } from '../base/error.ts';
import { formatReference, parseReference, withoutTag } from '../oci/reference.ts';
import type { RegistryOptions } from '../oci/registry/registry-options.ts';
import { findRepositories } from '../triggers/rules/find-repositories.ts';
import { canonicalPattern, patternHost } from '../triggers/rules/match-rule.ts';
import { compilePattern } from '../triggers/rules/pattern.ts';
import { parseListLines } from './list-lines.ts';
import { readBytes } from './prefetch-flags.ts';

/** Names and patterns as the user gives them. */
export interface RepositoryWords {
  readonly names: readonly string[];
  /** Lists of more of them: files, or `-`. */
  readonly from?: readonly string[] | undefined;
  readonly stdin: AsyncIterable<Uint8Array | string>;
}

interface Word {
  readonly text: string;
  readonly where: ErrorPlace;
}

/**
 * The repositories as `host[:port]/name`, each once: those that are named in their order, then those that patterns match, sorted. Throws
 * `usage` without any, for one with a tag, and for a pattern that matches none; `registry-error` where a registry has no catalogue.
 */
export async function findRepositoryNames(
  { names, from = [], stdin }: RepositoryWords,
  { signal, ...options }: RegistryOptions & { readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const words: Word[] = names.map((text) => ({ text, where: {} }));
  for (const file of from) for (const word of await listedWords(file, stdin)) words.push(word);
  if (words.length === 0) {
    throw new AccelError('usage', 'no repository is named', {
      expected: 'HOST/REPOSITORY, a pattern such as registry.example.com/team/*, or a list with --from FILE',
    });
  }
  const named = words.filter(({ text }) => !isPattern(text)).map(repositoryOf);
  const patterns = words.filter(({ text }) => isPattern(text)).map(patternOf);
  const registries = { hosts: [], options: () => Promise.resolve(options) };
  const { repositories, unread } = await findRepositories(patterns, { registries }, signal);
  for (const { host, error } of unread) throw error ?? noCatalogue(host);
  for (const pattern of patterns) {
    if (repositories.some((name) => pattern.matches(name))) continue;
    throw new AccelError('usage', 'no repository matches this pattern', { where: { pattern: pattern.text } });
  }
  return [...new Set([...named, ...repositories])];
}

async function listedWords(file: string, stdin: RepositoryWords['stdin']): Promise<Word[]> {
  const text = Buffer.from(await readBytes(file, stdin)).toString('utf8');
  return parseListLines(text, file === '-' ? 'standard input' : file).map(({ where, words }) => {
    const [first, ...rest] = words;
    if (rest.length === 0) return { text: first!, where };
    throw new AccelError('usage', 'a line has one repository, and # before a comment', {
      where,
      found: words.join(' '),
    });
  });
}

function isPattern(text: string): boolean {
  return /[*?[{]/.test(text);
}

function patternOf({ text, where }: Word) {
  const name = canonicalPattern(text);
  if (!isPattern(patternHost(name))) return compilePattern(name);
  throw new AccelError('usage', 'a pattern here needs the name of a registry', { where, found: text });
}

/** A repository by its canonical name; a layout on disk stays as it is. A tag would be ignored silently otherwise. */
function repositoryOf({ text, where }: Word): string {
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

function noCatalogue(registry: string): AccelError {
  return new AccelError('registry-error', 'the registry has no catalogue, or not for this user', {
    where: { registry },
    hint: 'Name its repositories one by one, or in a list with --from FILE.',
  });
}
