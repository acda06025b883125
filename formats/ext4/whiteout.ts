/** Whiteouts (OCI image-spec, layer.md): what a layer removes from the layers below, and never from itself. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { type Ext4Image, IMPLICIT_DIRECTORY } from './image.ts';
import type { EntryRef } from './state/name-table.ts';
import { NumberSet } from './state/number-set.ts';

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
export type NamedDirectories = Map<number, ReadonlyMap<string, Uint8Array>>;

/** Applies whiteouts of the current layer; the outcome does not depend on where in the tar they stand. */
export class Whiteouts {
  readonly #image: Ext4Image;
  readonly #named: NamedDirectories;
  /** Directories emptied already: nothing from below comes back in one layer, so another look would find nothing. */
  readonly #emptied = new NumberSet();

  constructor(image: Ext4Image, named: NamedDirectories) {
    this.#image = image;
    this.#named = named;
  }

  /** Removes `name` from below `parent`; what this layer put there, also deeper inside, stays. */
  remove(parent: number, name: string): void {
    const { names } = this.#image;
    const entry = names.find(parent, name);
    if (entry === 0 || this.#isOurs(entry)) return;
    const inode = names.inode(entry);
    if (this.#image.isDirectory(inode)) this.empty(inode);
    this.#removeOrReset(entry);
  }

  /** Empties `top` of what lies below: an opaque directory. */
  empty(top: number): void {
    if (this.#emptied.has(top)) return;
    const { names } = this.#image;
    // Directories from below, parents before children; emptied in reverse, so that what is left in one is ours.
    const directories: EntryRef[] = [];
    const pending: number[] = [top];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      this.#emptied.add(at);
      let next = names.first(at);
      for (let entry = next; entry !== 0; entry = next) {
        next = names.next(entry);
        if (this.#isOurs(entry)) continue;
        const inode = names.inode(entry);
        if (!this.#image.isDirectory(inode)) this.#image.remove(entry);
        else {
          directories.push(entry);
          pending.push(inode);
        }
      }
    }
    for (const entry of directories.reverse()) this.#removeOrReset(entry);
  }

  #isOurs(entry: EntryRef): boolean {
    return this.#image.names.layer(entry) === this.#image.layer;
  }

  /**
   * Removes a name from below; but a directory that this layer names or put something into remains as this layer's
   * own: with the attributes of its entry, or those of a directory that no entry names.
   */
  #removeOrReset(entry: EntryRef): void {
    const { names } = this.#image;
    const inode = names.inode(entry);
    const named = this.#named.get(inode);
    if (!this.#image.isDirectory(inode) || (named === undefined && names.first(inode) === 0)) {
      this.#image.remove(entry);
      return;
    }
    if (named === undefined) this.#image.setAttributes(inode, IMPLICIT_DIRECTORY);
    this.#image.setXattrs(inode, named ?? new Map());
    names.setLayer(entry, this.#image.layer);
  }
}
