/**
 * Wildcards of a prefetch list: `*` and `?` within a name, `[abc]`, `[a-z]`, `[!a]`, and `**` for any number of
 * directories. Names that begin with a dot are names like any other.
 */
import type { FileStat, ImageFiles, NamedEntry } from '../reader/files.ts';

/** Directories that a pattern leads through are read whole; `**` may lead through all of them. */
const ANY_DEPTH = '**';

/** Whether a path holds wildcards. */
export function isPattern(path: string): boolean {
  return path.split('/').some(isWild);
}

/** Paths that match, in byte order of their components; directories among them. Symlinks on the way are followed. */
export async function* matchPaths(files: ImageFiles, pattern: string): AsyncGenerator<FileStat> {
  const components = pattern.split('/').filter((part) => part !== '');
  // An explicit stack, last first: the depth of a tree is the image's choice.
  const pending: { readonly at: FileStat; readonly next: number }[] = [{ at: await files.stat('/'), next: 0 }];
  const seen = new Set<string>();
  for (let step = pending.pop(); step !== undefined; step = pending.pop()) {
    const { at, next } = step;
    const component = components[next];
    if (component === undefined) {
      if (!seen.has(at.path)) yield at;
      seen.add(at.path);
      continue;
    }
    const found: { readonly at: FileStat; readonly next: number }[] = [];
    if (component === ANY_DEPTH) {
      found.push({ at, next: next + 1 });
      for (const below of await children(files, at, (_, type) => type === 'directory')) found.push({ at: below, next });
    } else {
      const matches = isWild(component) ? nameMatcher(component) : (name: string) => name === component;
      for (const below of await children(files, at, matches)) found.push({ at: below, next: next + 1 });
    }
    pending.push(...found.reverse());
  }
}

/** Entries of a directory whose names `matches` accepts; a symlink to a directory counts as a directory. */
async function children(
  files: ImageFiles,
  at: FileStat,
  matches: (name: string, type: NamedEntry['type']) => boolean,
): Promise<FileStat[]> {
  const directory = at.type === 'symlink' ? await files.find(at.path) : at;
  if (directory?.type !== 'directory') return [];
  const prefix = directory.path === '/' ? '/' : `${directory.path}/`;
  const out: FileStat[] = [];
  for (const { name, type } of await files.names(directory))
    if (matches(name, type)) out.push(await files.stat(prefix + name, { followLast: false }));
  return out;
}

function isWild(component: string): boolean {
  return /[*?]|\[[^\]]+\]/.test(component);
}

/** A test of names against one component of a pattern. */
export function nameMatcher(component: string): (name: string) => boolean {
  const tokens = component.match(/\*+|\?|\[!?[^\]]+\]|[^*?[]+|\[/g) ?? [];
  return (name) => matchTokens(tokens, name);
}

/** Goes back to the last `*` if the rest after it does not match: a pattern takes at most quadratic time. */
function matchTokens(tokens: readonly string[], name: string): boolean {
  let token = 0;
  let at = 0;
  let star: { readonly token: number; at: number } | undefined;
  for (;;) {
    const now = tokens[token];
    if (now?.startsWith('*') === true) {
      star = { token, at };
      token++;
      continue;
    }
    const length = now === undefined ? undefined : matchOne(now, name, at);
    if (now === undefined ? at === name.length : length !== undefined) {
      if (now === undefined) return true;
      token++;
      at += length!;
      continue;
    }
    if (star === undefined || star.at >= name.length) return false;
    star.at++;
    token = star.token + 1;
    at = star.at;
  }
}

/** Characters of `name` from `at` on that a token other than `*` takes; undefined when it does not fit. */
function matchOne(token: string, name: string, at: number): number | undefined {
  if (token === '?') return at < name.length ? 1 : undefined;
  if (token.startsWith('[') && token.length > 1) return at < name.length && inSet(token, name[at]!) ? 1 : undefined;
  return name.startsWith(token, at) ? token.length : undefined;
}

function inSet(token: string, char: string): boolean {
  const negated = token[1] === '!';
  const body = token.slice(negated ? 2 : 1, -1);
  let found = false;
  for (let i = 0; i < body.length; i++) {
    const isRange = body[i + 1] === '-' && i + 2 < body.length;
    if (isRange ? char >= body[i]! && char <= body[i + 2]! : char === body[i]) found = true;
    if (isRange) i += 2;
  }
  return found !== negated;
}
