/**
 * Regular expressions of the configuration, which take time in proportion to the text whatever they are: RE2's syntax and engine
 * (package re2js). The expression of the Action is JavaScript's; the two agree on what is usual in an expression for tags.
 */
import { RE2JS } from 're2js';
import { AccelError } from '../../../base/error.ts';

/** Characters of the longest expression; its program grows with it. */
const MAX_LENGTH = 512;

/** Compiles an expression that matches anywhere in a tag. Throws `usage`, with the key of the configuration. */
export function linearExpression(text: string, key: string): (tag: string) => boolean {
  if (text.length > MAX_LENGTH) throw refused(key, `at most ${MAX_LENGTH} characters`, `${text.length}`);
  try {
    const expression = RE2JS.compile(text);
    return (tag) => expression.matcher(tag).find();
  } catch (cause) {
    throw refused(
      key,
      'an expression in the syntax of RE2 (no look-around, no back-references)',
      (cause as Error).message,
    );
  }
}

function refused(key: string, expected: string, found: string): AccelError {
  return new AccelError('usage', 'an expression for tags cannot be used', { where: { key }, expected, found });
}
