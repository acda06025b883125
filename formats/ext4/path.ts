/** Paths of a tar inside an image: cleaned, resolved through symlinks, never leaving the root. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { type Ext4Image, IMPLICIT_DIRECTORY } from './image.ts';

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

/** Components walked through symlinks in one layer before entries pay for them, and what each entry may add. */
const FREE_STEPS = 1_000_000;
const STEPS_PER_ENTRY = 64;
/** Directories whose paths are remembered, and the longest path that is. */
const REMEMBERED = 512;
const REMEMBERED_LENGTH = 1024;

/**
 * Finds the directories of a layer's entries. The last few hundred are remembered, so that a path is walked once and not
 * for each of its files; and the targets of symlinks, which multiply where one leads through another, have a budget.
 */
export class DirectoryFinder {
  readonly #image: Ext4Image;
  readonly #known = new Map<string, number>();
  #epoch = 0;
  #steps = FREE_STEPS;

  constructor(image: Ext4Image) {
    this.#image = image;
  }

  /** To be called for each entry. */
  beginEntry(): void {
    this.#steps += STEPS_PER_ENTRY;
  }

  /** Counts steps of a walk whose length the layer decides. Throws `limit-exceeded` when they are too many. */
  spend(steps: number): void {
    this.#steps -= steps;
    if (this.#steps >= 0) return;
    throw new AccelError('limit-exceeded', 'the paths of the layer lead through too many symlinks and directories', {
      expected: `at most ${FREE_STEPS} steps, and ${STEPS_PER_ENTRY} more for each entry`,
      hint: 'build the layer with fewer symlinks that lead through each other',
    });
  }

  /** The directory that `components` lead to, as {@link resolveDirectory} finds it; 0 for none. */
  find(components: readonly string[], missing: Missing): number {
    if (this.#epoch !== this.#image.pathEpoch) {
      this.#epoch = this.#image.pathEpoch;
      this.#known.clear();
    }
    const path = components.join('/');
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    const above = components.length === 0 ? undefined : this.#known.get(path.slice(0, path.lastIndexOf('/')));
    const walk = { image: this.#image, missing, spend: (steps: number) => this.spend(steps) };
    const found =
      above === undefined || components.length === 1
        ? resolve(walk, this.#image.root, components)
        : resolve(walk, above, components.slice(-1));
    if (found !== 0 && path.length <= REMEMBERED_LENGTH) {
      if (this.#known.size >= REMEMBERED) this.#known.delete(this.#known.keys().next().value!);
      this.#known.set(path, found);
    }
    return found;
  }
}

/**
 * The directory that `components` lead to, symlinks on the way followed inside the root. With `create` what is missing is
 * created with the attributes of an implicit parent, and a file in the way is an AccelError `tar-invalid`. Without it
 * either makes the result 0: a whiteout below what is a file by now has nothing to remove (umoci writes such whiteouts
 * when a directory becomes a file). Symlinks that go in circles are an error always.
 */
export function resolveDirectory(image: Ext4Image, components: readonly string[], missing: Missing): number {
  return resolve({ image, missing, spend: () => undefined }, image.root, components);
}

interface Walk {
  readonly image: Ext4Image;
  readonly missing: Missing;
  spend(steps: number): void;
}

function resolve({ image, missing, spend }: Walk, from: number, components: readonly string[]): number {
  let at = from;
  let links = 0;
  const ahead = [...components].reverse();
  for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      at = image.parentOf(at);
      continue;
    }
    const next = image.lookup(at, name);
    if (next !== 0 && image.isDirectory(next)) {
      at = next;
      continue;
    }
    if (next === 0) {
      if (missing === 'undefined') return 0;
      at = image.create(at, name, 'directory', IMPLICIT_DIRECTORY);
      continue;
    }
    const target = image.targetOf(next);
    if (target !== undefined) {
      if (++links > SYMLINKS_MAX) {
        throw new AccelError('tar-invalid', 'the symlinks of a path go in circles', {
          expected: `at most ${SYMLINKS_MAX} symlinks`,
          found: printable(name),
        });
      }
      if (target.startsWith('/')) at = image.root;
      const parts = target.split('/');
      spend(parts.length);
      for (const component of parts.reverse()) ahead.push(component);
    } else if (missing === 'undefined') {
      return 0;
    } else {
      throw new AccelError('tar-invalid', 'a directory of the path is no directory', {
        expected: 'a directory, or a symlink to one',
        found: `${printable(name)} is a ${image.typeOf(next)}`,
      });
    }
  }
  return at;
}
