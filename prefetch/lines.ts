/** The lines of a prefetch list as users write them: what is in them, before any image is looked at. */
import { AccelError } from '../base/error.ts';

/** A line that names something. */
export interface PrefetchLine {
  /** Its number in the list, from 1. */
  readonly number: number;
  /** Absolute path, Latin-1, a character for each byte; may hold wildcards; ends in `/` for all that is below. */
  readonly path: string;
}

/** Lines of a list; more than a list for any image has, so that a wrong file is noticed. */
const MAX_LINES = 1_000_000;
/** Most names that one message has. */
const NAMED = 5;
/** Bytes of a path, as Linux has it. */
const MAX_PATH = 4096;

/**
 * Parses lines: text, or bytes where a name is not UTF-8. Blank lines and those that begin with `#` are left out,
 * blanks around a path too. Throws `usage` for a line that is no absolute path.
 */
export function parsePrefetchLines(lines: readonly (string | Uint8Array)[]): PrefetchLine[] {
  if (lines.length > MAX_LINES)
    throw new AccelError('usage', 'the prefetch list has too many lines', {
      expected: `at most ${MAX_LINES}`,
      found: lines.length,
    });
  const parsed: PrefetchLine[] = [];
  lines.forEach((line, index) => {
    const path = Buffer.from(line)
      .toString('latin1')
      .replace(/^[ \t]+|[ \t\r]+$/g, '');
    if (path === '' || path.startsWith('#')) return;
    const problem = problemOf(path);
    if (problem !== undefined)
      throw new AccelError('usage', `a line of the prefetch list ${problem}`, {
        where: { line: index + 1 },
        expected: 'an absolute path, such as /usr/bin/app or /etc/app/',
        found: Buffer.from(path.slice(0, 200), 'latin1').toString('utf8'),
      });
    parsed.push({ number: index + 1, path });
  });
  return parsed;
}

/** The lines of a file as bytes, without their ends: a name need not be UTF-8. */
export function splitLines(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(0x0a, from);
    const to = end < 0 ? bytes.length : end;
    lines.push(bytes.subarray(from, to));
    from = to + 1;
  }
  return lines;
}

/** The name of a line in messages. */
export function nameOfLine({ number, path }: PrefetchLine): string {
  return `line ${number} (${path})`;
}

/** The first few of some names, and how many more there are. */
export function someOf(names: readonly string[]): string {
  const more = names.length - NAMED;
  return `${names.slice(0, NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function problemOf(path: string): string | undefined {
  if (!path.startsWith('/')) return 'is no absolute path';
  if (/[\0\n]/.test(path)) return 'holds a byte that no path has';
  return path.length > MAX_PATH ? 'is too long for a path' : undefined;
}
