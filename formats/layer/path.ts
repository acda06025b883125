/** Paths of a tar: split into components and kept inside the root. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';

/** Longest path in bytes, as Linux has it. */
export const PATH_MAX = 4096;

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
