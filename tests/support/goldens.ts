/** The tree that the reference's runtime shows for fixtures/goldens/input, and its mistakes. */
import { join } from 'node:path';
import { formatEntry, type TreeEntry } from './tree.ts';

/** The listing of the reference's tree. */
export const REFERENCE_PATH: string = join(import.meta.dirname, '../../fixtures/goldens/tree.txt');

/** Every point where that tree is not what the layers say, by path. */
export const REFERENCE_MISTAKES: Readonly<Record<string, string>> = {
  '/': 'counts the lost+found of its own making',
  '/lost+found': 'made by mkfs, in no layer',
  '/home/user/hugeid': 'PAX uid and gid above 2097151 become 0',
  '/etc/dotlink': 'symlink text ./passwd is rewritten to passwd',
  '/etc/updown': 'symlink text is normalised',
};

/** An entry as a line of the listing: without link groups, with whole seconds, which is one mistake more. */
export function referenceLine(entry: TreeEntry): string {
  const seconds = entry.mtimeNs - (entry.mtimeNs % 1_000_000_000n);
  return formatEntry({ ...entry, firstLink: entry.path, mtimeNs: seconds });
}

/** The listing's lines in the form of {@link referenceLine}, by their path, which is quoted as {@link formatEntry} does. */
export function parseReference(listing: string): Map<string, string> {
  const lines = listing.split('\n').filter((line) => line !== '');
  return new Map(
    lines.map((line) => {
      const quoted = line
        .trimEnd()
        .replace(/[^ !-[\]-~]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
      return [quoted.split(' ')[8]!, quoted];
    }),
  );
}
