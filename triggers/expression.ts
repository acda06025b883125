/** The regular expression by which a user tells finished conversions: compiled, and bounded in time. */
import { createContext, Script } from 'node:vm';
import { AccelError } from '../base/error.ts';

/** What a tag of a finished conversion matches unless the user says otherwise. */
export const DEFAULT_EXPRESSION = '_accelerated$';

/** Says whether a tag matches; throws `usage` when the expression takes too long over it. */
export type TagMatcher = (tag: string) => boolean;

/** Longest expression. */
const MAX_LENGTH = 512;
/**
 * Milliseconds for one tag. A tag has at most 128 characters, for which a sound expression needs microseconds; one that
 * backtracks without end (`(a+)+$`) is stopped by V8 at its next step back, which no timer of this thread could do.
 */
const PATIENCE_MS = 1000;

/** Compiles `text` as a JavaScript regular expression. Throws `usage` when it is none. */
export function tagMatcher(text: string): TagMatcher {
  if (text.length > MAX_LENGTH) throw refused(text, `at most ${MAX_LENGTH} characters`, `${text.length}`);
  try {
    new RegExp(text);
  } catch (cause) {
    throw refused(text, 'a JavaScript regular expression', (cause as Error).message, cause);
  }
  const sandbox = createContext({ text, tag: '' }, { codeGeneration: { strings: false, wasm: false } });
  const script = new Script('new RegExp(text).test(tag)');
  return (tag) => {
    sandbox.tag = tag;
    try {
      return script.runInContext(sandbox, { timeout: PATIENCE_MS }) === true;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw cause;
      throw refused(text, 'an expression that is done with a tag in no time', `more than ${PATIENCE_MS} ms`, cause);
    }
  };
}

function refused(text: string, expected: string, found: string, cause?: unknown): AccelError {
  return new AccelError('usage', 'the expression for tags of finished conversions cannot be used', {
    where: { expression: text.slice(0, MAX_LENGTH) },
    expected,
    found,
    hint: `The default is ${DEFAULT_EXPRESSION}; avoid a repetition within a repetition.`,
    ...(cause === undefined ? {} : { cause }),
  });
}
