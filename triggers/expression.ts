/** Compiles the user's regular expression for tags of finished conversions, and limits the time of a match. */
import { createContext, Script } from 'node:vm';
import { AccelError } from '../base/error.ts';

/** The default expression. */
export const DEFAULT_EXPRESSION = '_accelerated$';

/** Reports whether a tag matches; throws `usage` if the match takes too long. */
export type TagMatcher = (tag: string) => boolean;

/** Characters of the longest expression. */
const MAX_LENGTH = 512;
/**
 * Milliseconds for one tag. A tag has at most 128 characters, for which a reasonable expression needs microseconds; V8 stops
 * one that backtracks without end (`(a+)+$`) at its next backtracking step, which a timer of this thread could not do.
 */
const PATIENCE_MS = 1000;

/** Compiles `text` as a JavaScript regular expression. Throws `usage` if it is invalid. */
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
      throw refused(text, 'an expression that matches a tag at once', `more than ${PATIENCE_MS} ms`, cause);
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
