/** Paths of a tar inside an image: cleaned, resolved through symlinks, never leaving the root. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { type Ext4Image, IMPLICIT_DIRECTORY } from './image.ts';
import type { Inode } from './inode.ts';

/** Longest path in bytes, as Linux has it. */
export const PATH_MAX = 4096;
/** Symlinks followed in one resolution, as Linux has it. */
const SYMLINKS_MAX = 40;

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
        hint: 'do not run this image before you know who made this layer and why',
      });
    }
  }
  return components;
}

/** What to do about directories of a path that do not exist. */
export type Missing = 'create' | 'undefined';

/**
 * The directory that `components` lead to, symlinks on the way followed inside the root. With `create` what is missing is
 * created with the attributes of an implicit parent, and a file in the way is an AccelError `tar-invalid`. Without it
 * either makes the result undefined: a whiteout below what is a file by now has nothing to remove (umoci writes such
 * whiteouts when a directory becomes a file). Symlinks that go in circles are an error always.
 */
export function resolveDirectory(image: Ext4Image, components: readonly string[], missing: Missing): Inode | undefined {
  let at = image.root;
  let links = 0;
  const ahead = [...components].reverse();
  for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
    if (name === '' || name === '.') continue;
    const directory = at.directory!;
    if (name === '..') {
      at = directory.parent;
      continue;
    }
    const next = directory.children.get(name)?.inode;
    if (next === undefined) {
      if (missing === 'undefined') return undefined;
      at = image.create(at, name, 'directory', IMPLICIT_DIRECTORY);
    } else if (next.directory !== undefined) {
      at = next;
    } else if (next.target !== undefined) {
      if (++links > SYMLINKS_MAX) {
        throw new AccelError('tar-invalid', 'the symlinks of a path go in circles', {
          expected: `at most ${SYMLINKS_MAX} symlinks`,
          found: printable(name),
        });
      }
      if (next.target.startsWith('/')) at = image.root;
      for (const component of next.target.split('/').reverse()) ahead.push(component);
    } else if (missing === 'undefined') {
      return undefined;
    } else {
      throw new AccelError('tar-invalid', 'a directory of the path is no directory', {
        expected: 'a directory, or a symlink to one',
        found: `${printable(name)} is a ${next.type}`,
      });
    }
  }
  return at;
}
