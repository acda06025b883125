/**
 * Glob patterns of repositories and tags. `*` and `?` match within a part of a path, `**` any number of parts, `[abc]`,
 * `[a-z]` and `[!a]` one character, `{a,b}` alternatives. A match takes time in proportion to the length of the pattern times
 * the length of the text, whatever the pattern is: the states that a prefix can reach are kept as a set, and nothing is tried twice.
 */
import { AccelError } from '../../base/error.ts';

/** Characters of the longest pattern. */
const MAX_LENGTH = 512;
/** Alternatives that the braces of one pattern may make in all. */
const MAX_ALTERNATIVES = 64;

/** One step of a compiled pattern. `skip` may be left out together with the `count` steps that follow it. */
type Step =
  | { readonly kind: 'one' | 'any'; readonly takes: (char: string) => boolean }
  | { readonly kind: 'skip'; readonly count: number };

/** A compiled pattern. */
export interface Pattern {
  /** The pattern as written. */
  readonly text: string;
  /** Reports whether the whole of a text matches. */
  matches(text: string): boolean;
}

const anything = (): boolean => true;
const withinPart = (char: string): boolean => char !== '/';

/** Compiles a pattern. Throws `usage` for one that is too long, has an unclosed bracket, or too many alternatives. */
export function compilePattern(text: string): Pattern {
  if (text.length > MAX_LENGTH) throw invalid(text, `at most ${MAX_LENGTH} characters`, `${text.length}`);
  const alternatives = expandBraces(text).map((alternative) => stepsOf(alternative, text));
  return { text, matches: (candidate) => alternatives.some((steps) => run(steps, candidate)) };
}

/** The alternatives of a pattern without its braces; nested braces are expanded, too. */
function expandBraces(text: string): string[] {
  const done: string[] = [];
  const open = [text];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const from = next.indexOf('{');
    if (from < 0) {
      if (next.includes('}')) throw invalid(text, 'a { for each }', text);
      done.push(next);
    } else {
      const { parts, end } = partsOf(next, from, text);
      for (const part of parts) open.push(next.slice(0, from) + part + next.slice(end));
    }
    if (done.length + open.length > MAX_ALTERNATIVES) {
      throw invalid(text, `at most ${MAX_ALTERNATIVES} alternatives`, 'more');
    }
  }
  return done;
}

/** The parts between a brace and its end, and where the rest begins. */
function partsOf(text: string, from: number, whole: string): { readonly parts: string[]; readonly end: number } {
  const parts: string[] = [];
  let depth = 0;
  let start = from + 1;
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char === '{') depth++;
    else if (char === '}') depth--;
    if (depth === 0 || (depth === 1 && char === ',')) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
    if (depth === 0) return { parts, end: at + 1 };
  }
  throw invalid(whole, 'a } for each {', whole);
}

function stepsOf(text: string, whole: string): Step[] {
  const steps: Step[] = [];
  for (let at = 0; at < text.length; ) {
    const char = text[at]!;
    if (char === '*') {
      const start = at;
      while (text[at] === '*') at++;
      const isParts = at - start > 1;
      const isWholeParts = isParts && (start === 0 || text[start - 1] === '/') && text[at] === '/';
      // `a/**/b` matches `a/b` as well: without any part there is no slash after it either.
      if (isWholeParts) steps.push({ kind: 'skip', count: 2 });
      steps.push({ kind: 'any', takes: isParts ? anything : withinPart });
      if (isWholeParts) {
        steps.push({ kind: 'one', takes: (found) => found === '/' });
        at++;
      }
      continue;
    }
    at++;
    if (char === '?') steps.push({ kind: 'one', takes: withinPart });
    else if (char === '[') {
      const end = text.indexOf(']', at + 1);
      if (end < 0) throw invalid(whole, 'a ] for each [', whole);
      steps.push({ kind: 'one', takes: setOf(text.slice(at, end)) });
      at = end + 1;
    } else steps.push({ kind: 'one', takes: (found) => found === char });
  }
  return steps;
}

/** A test of one character against the inside of brackets. */
function setOf(body: string): (char: string) => boolean {
  const negated = body.startsWith('!');
  const members: [from: string, to: string][] = [];
  for (let at = negated ? 1 : 0; at < body.length; at++) {
    const isRange = body[at + 1] === '-' && at + 2 < body.length;
    members.push([body[at]!, body[isRange ? at + 2 : at]!]);
    if (isRange) at += 2;
  }
  return (char) => char !== '/' && members.some(([from, to]) => char >= from && char <= to) !== negated;
}

/** Follows all ways through the steps at once. */
function run(steps: readonly Step[], text: string): boolean {
  let states = new Set<number>();
  enter(steps, 0, states);
  for (const char of text) {
    const next = new Set<number>();
    for (const state of states) {
      const step = steps[state];
      if (step === undefined || step.kind === 'skip' || !step.takes(char)) continue;
      enter(steps, step.kind === 'any' ? state : state + 1, next);
    }
    if (next.size === 0) return false;
    states = next;
  }
  return states.has(steps.length);
}

/** Adds a state, and those that it leads to without a character. */
function enter(steps: readonly Step[], from: number, states: Set<number>): void {
  const open = [from];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    if (states.has(state)) continue;
    states.add(state);
    const step = steps[state];
    if (step?.kind === 'any') open.push(state + 1);
    if (step?.kind === 'skip') open.push(state + 1, state + 1 + step.count);
  }
}

function invalid(text: string, expected: string, found: string): AccelError {
  return new AccelError('usage', 'this pattern cannot be used', {
    where: { pattern: text.slice(0, MAX_LENGTH) },
    expected,
    found: found.slice(0, MAX_LENGTH),
    hint: 'Known are *, **, ?, [a-z], [!a] and {a,b}.',
  });
}
