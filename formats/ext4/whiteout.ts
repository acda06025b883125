/** Whiteouts (OCI image-spec, layer.md): what a layer removes from the layers below, and never from itself. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { type Ext4Image, IMPLICIT_DIRECTORY } from './image.ts';
import type { Inode } from './inode.ts';

const PREFIX = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Names that AUFS kept for itself; old images carry them, they mean nothing. */
const AUFS_PREFIX = '.wh..wh.';

/** What a file name means to a layer. */
export type Whiteout =
  | { readonly kind: 'none' }
  | { readonly kind: 'opaque' }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'remove'; readonly name: string };

/** True for a directory that AUFS kept for itself: it and what lies in it are no part of the image. */
export function isAufsDirectory(name: string): boolean {
  return name.startsWith(AUFS_PREFIX);
}

/** Classifies the last component of a path. AccelError `tar-invalid` for a whiteout that names nothing. */
export function parseWhiteout(name: string): Whiteout {
  if (!name.startsWith(PREFIX)) return { kind: 'none' };
  if (name === OPAQUE) return { kind: 'opaque' };
  if (name.startsWith(AUFS_PREFIX)) return { kind: 'ignored' };
  const hidden = name.slice(PREFIX.length);
  if (hidden === '' || hidden === '.' || hidden === '..') {
    throw new AccelError('tar-invalid', 'a whiteout names no file', {
      expected: `${PREFIX}NAME`,
      found: printable(name),
    });
  }
  return { kind: 'remove', name: hidden };
}

/** Directories from below that entries of the current layer name, with the extended attributes of those entries. */
export type NamedDirectories = Map<Inode, ReadonlyMap<string, Uint8Array>>;

/** Applies whiteouts of the current layer; the outcome does not depend on where in the tar they stand. */
export class Whiteouts {
  readonly #image: Ext4Image;
  readonly #named: NamedDirectories;

  constructor(image: Ext4Image, named: NamedDirectories) {
    this.#image = image;
    this.#named = named;
  }

  /** Removes `name` from below `parent`; what this layer put there, also deeper inside, stays. */
  remove(parent: Inode, name: string): void {
    const dirent = parent.directory!.children.get(name);
    if (dirent === undefined || this.#isOurs(dirent.layer)) return;
    if (dirent.inode.directory !== undefined) this.empty(dirent.inode);
    this.#removeOrReset(parent, name);
  }

  /** Empties `top` of what lies below: an opaque directory. */
  empty(top: Inode): void {
    // Directories from below, parents before children; emptied in reverse, so that what is left in one is ours.
    const directories: { readonly parent: Inode; readonly name: string }[] = [];
    const pending: Inode[] = [top];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      for (const [name, { inode, layer }] of [...at.directory!.children]) {
        if (this.#isOurs(layer)) continue;
        if (inode.directory === undefined) this.#image.remove(at, name);
        else {
          directories.push({ parent: at, name });
          pending.push(inode);
        }
      }
    }
    for (const { parent, name } of directories.reverse()) this.#removeOrReset(parent, name);
  }

  #isOurs(layer: number): boolean {
    return layer === this.#image.layer;
  }

  /**
   * Removes a name from below; but a directory that this layer names or put something into stands on as this layer's
   * own: with the attributes of its entry, or those of a directory that no entry names.
   */
  #removeOrReset(parent: Inode, name: string): void {
    const { inode } = parent.directory!.children.get(name)!;
    const named = this.#named.get(inode);
    if (inode.directory === undefined || (named === undefined && inode.directory.children.size === 0)) {
      this.#image.remove(parent, name);
      return;
    }
    if (named === undefined) this.#image.setAttributes(inode, IMPLICIT_DIRECTORY);
    this.#image.setXattrs(inode, named ?? new Map());
    parent.directory!.children.set(name, { inode, layer: this.#image.layer });
  }
}
