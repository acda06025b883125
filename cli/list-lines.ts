/** Lists that a user gives in a file or on standard input: words on lines, blanks between them, `#` for comments. */
import { AccelError, type ErrorPlace } from '../base/error.ts';

/** Characters of the longest line. */
const MAX_LINE = 8192;
/** Lines of the longest list. */
const MAX_LINES = 200_000;

/** The place of a line; lines are counted from 1. */
export interface LinePlace extends ErrorPlace {
  readonly file: string;
  readonly line: number;
}

/** A line with at least one word. */
export interface ListLine {
  readonly where: LinePlace;
  readonly words: readonly string[];
}

/**
 * The lines of a list that have words: separated by blanks, `'…'` and `"…"` hold blanks, `#` at the begin of a word starts a comment.
 * `file` is its name in errors. Throws `usage` for a list or line that is too long, and for a quotation mark that is not closed.
 */
export function parseListLines(text: string, file: string): ListLine[] {
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  // The text after the last line feed is no line.
  if (lines.at(-1) === '') lines.pop();
  if (lines.length > MAX_LINES) {
    throw new AccelError('usage', 'the list has too many lines', {
      where: { file },
      expected: `at most ${MAX_LINES}`,
      found: lines.length,
    });
  }
  return lines.flatMap((line, index) => {
    const where = { file, line: index + 1 };
    const words = splitWords(line, where);
    return words.length === 0 ? [] : [{ where, words }];
  });
}

function splitWords(line: string, where: LinePlace): string[] {
  if (line.length > MAX_LINE) {
    throw new AccelError('usage', 'a line of the list is too long', {
      where: { ...where },
      expected: `at most ${MAX_LINE} characters`,
      found: line.length,
    });
  }
  const words: string[] = [];
  const word = /\s*(?:(#.*)|((?:"[^"]*"|'[^']*'|[^\s"'])+)|(["']))/gy;
  for (let match = word.exec(line); match !== null; match = word.exec(line)) {
    const [, comment, text, open] = match;
    if (comment !== undefined) break;
    if (open !== undefined) {
      throw new AccelError('usage', 'a quotation mark is not closed', {
        where: { ...where },
        found: line.trim().slice(0, 200),
      });
    }
    words.push(text!.replace(/"([^"]*)"|'([^']*)'/g, (_, double?: string, single?: string) => double ?? single ?? ''));
  }
  return words;
}
