/** Paths of a tar: split into components and kept inside the root. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';

/** Longest path in bytes, as Linux has it. */
export const PATH_MAX = 4096;

const SLASH = 0x2f;

/** A path as its directory and the name in it, both as they are spelled. */
export interface DividedPath {
  readonly directory: string;
  /** Not empty, `.` or `..`, and without a slash. */
  readonly name: string;
}

/** Divides a tar path behind its last slash, those at its end aside; undefined where no plain name is there, or too long. */
export function dividePath(path: string): DividedPath | undefined {
  if (path.length > PATH_MAX) return undefined;
  let end = path.length;
  while (end > 0 && path.charCodeAt(end - 1) === SLASH) end--;
  const slash = path.lastIndexOf('/', end - 1);
  const name = path.slice(slash + 1, end);
  if (name === '' || name === '.' || name === '..') return undefined;
  return { directory: path.slice(0, slash + 1), name };
}

/**
 * The components of a tar path: `.` and empty ones dropped, `a/..` taken out, a leading `/` ignored. AccelError
 * `tar-invalid` when it climbs above the root (no image needs that; an unpacker would write outside), or is too long.
 */
export function cleanPath(path: string, what: string): string[] {
  if (path.length > PATH_MAX) {
    throw new AccelError('limit-exceeded', `a ${what} is too long`, {
      expected: `at most ${PATH_MAX} bytes`,
      found: `${path.length} bytes`,
    });
  }
  const components: string[] = [];
  for (const component of path.split('/')) {
    if (component === '' || component === '.') continue;
    if (component !== '..') components.push(component);
    else if (components.pop() === undefined) {
      throw new AccelError('tar-invalid', `a ${what} leaves the image`, {
        expected: 'a path inside the root',
        found: printable(path),
        hint: 'Do not run this image before you know who made this layer and why.',
      });
    }
  }
  return components;
}
