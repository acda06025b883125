/** Errors in the log of a process that goes on: all that the command line prints of one, on one line. */
import { asAccelError } from './error.ts';

/** Writes an error on one line: the message, the place, what was expected and found, and the advice. */
export function errorLine(error: unknown): string {
  const { message, where, expected, found, hint } = asAccelError(error);
  const facts = Object.entries(where).map(([key, value]) => `${key} ${value}`);
  if (expected !== undefined) facts.push(`expected ${expected}`);
  if (found !== undefined) facts.push(`found ${found}`);
  const [first = '', ...more] = message.split('\n');
  // The first line of a list of problems ends in a colon.
  const text = more.length === 0 ? first : `${first} ${more.join('; ')}`;
  return `${text}${facts.length === 0 ? '' : ` (${facts.join(', ')})`}${hint === undefined ? '' : `. ${hint}`}`;
}
