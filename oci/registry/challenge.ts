/** The WWW-Authenticate header (RFC 9110 §11.6.1) and token scopes (distribution's token specification). */

/** One challenge: a scheme in lower case and its parameters, keys in lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** One token of the grammar; sticky, so that the parse walks the text once whatever it holds. */
const WORD = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const BARE = /[^\s,"]+/y;
const SEPARATORS = /[\s,]*/y;
const EQUALS = /\s*=\s*/y;

/** All challenges of a header; what does not parse is passed over. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match) at = pattern.lastIndex;
    return match;
  };
  while (at < header.length) {
    take(SEPARATORS);
    const word = take(WORD)?.[0];
    if (word === undefined) {
      at += 1;
      continue;
    }
    const current = challenges.at(-1);
    if (current === undefined || !take(EQUALS)) {
      challenges.push({ scheme: word.toLowerCase(), parameters: Object.create(null) });
      continue;
    }
    const quoted = take(QUOTED);
    const value = quoted ? (quoted[1] ?? '').replace(/\\(.)/g, '$1') : (take(BARE)?.[0] ?? '');
    current.parameters[word.toLowerCase()] = value;
  }
  return challenges;
}

/**
 * Joins scopes of the form `type:name:action,action`: one entry a resource, with every action, sorted, so that equal
 * needs give equal text. The scopes of a registry's challenge are included: behind some proxies the token server knows
 * the repository by another name.
 */
export function mergeScopes(...lists: readonly (readonly string[])[]): readonly string[] {
  const actions = new Map<string, Set<string>>();
  for (const scope of lists.flat()) {
    const colon = scope.lastIndexOf(':');
    if (colon <= 0) continue;
    const resource = scope.slice(0, colon);
    const known = actions.get(resource) ?? new Set<string>();
    for (const action of scope.slice(colon + 1).split(',')) known.add(action);
    actions.set(resource, known);
  }
  return [...actions].map(([resource, set]) => `${resource}:${[...set].sort().join(',')}`).sort();
}

/** The scope to read (`pull`) or to read and write (`pull,push`) a repository. */
export function repositoryScope(repository: string, write: boolean): string {
  return `repository:${repository}:${write ? 'pull,push' : 'pull'}`;
}
