/** Whiteouts (OCI image-spec, layer.md): what a layer removes from the layers below, and never from itself. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { IMPLICIT_DIRECTORY, type LayerTree, type Steps, type Xattrs } from './tree.ts';
import { xattrsAfter } from './xattrs.ts';

const PREFIX = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Names that AUFS kept for itself; old images carry them, they mean nothing. */
const AUFS_PREFIX = '.wh..wh.';
const NO_XATTRS: Xattrs = new Map();
/** Names that are removed in a step. */
const NAMES_PER_STEP = 256;

/** The meaning of a file name in a layer. */
export type Whiteout =
  | { readonly kind: 'none' }
  | { readonly kind: 'opaque' }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'remove'; readonly name: string };

/** True for names that no file of an image has: whiteouts, and what AUFS kept for itself. */
export function isReservedName(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** True for a directory that AUFS kept for itself: it and everything in it is not part of the image. */
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

/** The changes that the current layer makes to a directory from below. */
export interface NamedDirectory {
  readonly mode: number;
  readonly xattrs: Xattrs;
}

/** Applies whiteouts of the current layer; the outcome does not depend on where in the tar they are. */
export class Whiteouts<N> {
  readonly #tree: LayerTree<N>;
  readonly #named: ReadonlyMap<N, NamedDirectory>;
  /** Directories with nothing from below left in them: a second look would be as long as the directory. */
  readonly #emptied = new Set<N>();

  /** `named`: the directories from below that entries of the layer name, as far as it has been read. */
  constructor(tree: LayerTree<N>, named: ReadonlyMap<N, NamedDirectory>) {
    this.#tree = tree;
    this.#named = named;
  }

  /** Removes `name` from below `directory`; what this layer put there, also deeper inside, stays. */
  *remove(directory: N, name: string): Steps {
    const node = this.#tree.child(directory, name);
    if (node === undefined || this.#tree.isOwn(directory, name)) return;
    if (this.#tree.kind(node) === 'directory') yield* this.empty(node);
    this.#removeOrReset(directory, name, node);
  }

  /** Empties a directory of what lies below: an opaque directory. */
  *empty(top: N): Steps {
    if (this.#emptied.has(top)) return;
    // Directories from below, parents before children; emptied in reverse, so that what is left in one is ours.
    const directories: { readonly parent: N; readonly name: string; readonly node: N }[] = [];
    const pending: N[] = [top];
    let names = 0;
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      this.#emptied.add(at);
      for (const name of this.#tree.lowerNames(at)) {
        if (++names % NAMES_PER_STEP === 0) yield;
        const node = this.#tree.child(at, name)!;
        if (this.#tree.kind(node) !== 'directory') this.#tree.remove(at, name);
        else {
          directories.push({ parent: at, name, node });
          if (!this.#emptied.has(node)) pending.push(node);
        }
      }
    }
    for (const { parent, name, node } of directories.reverse()) {
      if (++names % NAMES_PER_STEP === 0) yield;
      this.#removeOrReset(parent, name, node);
    }
  }

  /**
   * Removes a name from below; but a directory that this layer names or put something into becomes this layer's own:
   * with the attributes of its entry, or those of a directory that no entry names.
   */
  #removeOrReset(directory: N, name: string, node: N): void {
    const named = this.#named.get(node);
    const isDirectory = this.#tree.kind(node) === 'directory';
    if (!isDirectory || (named === undefined && this.#tree.isEmpty(node))) {
      this.#tree.remove(directory, name);
      return;
    }
    if (named === undefined) this.#tree.setAttributes(node, IMPLICIT_DIRECTORY);
    this.#tree.setXattrs(node, named === undefined ? NO_XATTRS : xattrsAfter(NO_XATTRS, named.xattrs, named.mode));
    this.#tree.markOwn(directory, name);
  }
}
