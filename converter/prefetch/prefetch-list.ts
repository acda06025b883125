/** Parses a prefetch list and names it by a hash of everything that determines the layer. */
import { digestOf } from '../../oci/digest.ts';
import { type PrefetchLine, parsePrefetchLines } from '../../prefetch/lines.ts';
import type { PrefetchRequest } from '../options.ts';

/** A parsed list. */
export interface PrefetchList {
  readonly lines: readonly PrefetchLine[];
  readonly format: 'list' | 'trace' | undefined;
  readonly strict: boolean;
  /** Stands for lines and format in the record of an image's options. */
  readonly name: string;
}

/** Hexadecimal digits of a list's name. */
const NAME_DIGITS = 16;

/** Parses a request's list. Throws `usage` with the number of a line that is not an absolute path. */
export function parsePrefetch({ lines, format, strict }: PrefetchRequest): PrefetchList {
  const parsed = parsePrefetchLines(lines);
  const paths = parsed.map(({ path }) => path).join('\n');
  const hex = digestOf(Buffer.from(paths, 'latin1')).slice('sha256:'.length);
  const name = `${hex.slice(0, NAME_DIGITS)}${format === undefined ? '' : `+${format}`}`;
  return { lines: parsed, format, strict: strict === true, name };
}
