/** Lists that a user gives in a file or on standard input: an entry a line, blank lines and comments after `#` are left out. */
import { open } from 'node:fs/promises';
import { AccelError } from '../base/error.ts';

/** Bytes of the longest list. */
const MAX_BYTES = 16 << 20;

/** An entry of a list; lines are counted from 1. */
export interface ListLine {
  readonly line: number;
  readonly text: string;
}

/**
 * Reads a list from a file, or from `stdin` where the path is `-`. Throws `io-error` for a file that cannot be read, `usage` for more
 * than 16 MiB.
 */
export async function readListLines(
  path: string,
  stdin: AsyncIterable<Uint8Array | string>,
): Promise<readonly ListLine[]> {
  if (path === '-') return parseListLines(await collectText(stdin, path));
  try {
    const file = await open(path);
    try {
      return parseListLines(await collectText(file.createReadStream({ autoClose: false }), path));
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof AccelError) throw cause;
    const found = (cause as Error).message;
    throw new AccelError('io-error', 'the list cannot be read', { where: { path }, found, cause });
  }
}

/** The entries of a list. A `#` begins a comment at the start of a line and after white space: it may be part of an entry. */
export function parseListLines(text: string): readonly ListLine[] {
  return text.split('\n').flatMap((whole, index) => {
    const entry = whole.replace(/(?:^|\s)#.*$/, '').trim();
    return entry === '' ? [] : [{ line: index + 1, text: entry }];
  });
}

async function collectText(input: AsyncIterable<Uint8Array | string>, path: string): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of input) {
    const bytes = Buffer.from(part as Uint8Array);
    size += bytes.length;
    if (size > MAX_BYTES) {
      throw new AccelError('usage', 'the list is too long', {
        where: { path },
        expected: `at most ${MAX_BYTES} bytes`,
      });
    }
    parts.push(bytes);
  }
  return Buffer.concat(parts)
    .toString('utf8')
    .replace(/^\uFEFF/, '');
}
