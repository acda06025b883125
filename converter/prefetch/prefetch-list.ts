/** A prefetch list before any image is known: parsed, and named by what decides the bytes. */
import { digestOf } from '../../oci/digest.ts';
import { type PrefetchLine, parsePrefetchLines } from '../../prefetch/lines.ts';
import type { PrefetchRequest } from '../options.ts';

/** A list that was parsed. */
export interface PrefetchList {
  readonly lines: readonly PrefetchLine[];
  readonly format: 'list' | 'trace' | undefined;
  readonly strict: boolean;
  /** Stands for lines and format in the record of an image's options. */
  readonly name: string;
}

/** Hexadecimal digits of a list's name. */
const NAME_DIGITS = 16;

/** Parses a request's list. Throws `usage` for a line that is no absolute path, with its number. */
export function parsePrefetch({ lines, format, strict }: PrefetchRequest): PrefetchList {
  const parsed = parsePrefetchLines(lines);
  const paths = parsed.map(({ path }) => path).join('\n');
  const hex = digestOf(Buffer.from(paths, 'latin1')).slice('sha256:'.length);
  const name = `${hex.slice(0, NAME_DIGITS)}${format === undefined ? '' : `+${format}`}`;
  return { lines: parsed, format, strict: strict === true, name };
}
