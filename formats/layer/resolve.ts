/** Finds the directory of a path in a tree, through symlinks and inside the root. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { IMPLICIT_DIRECTORY, type LayerTree, type NodeKind } from './tree.ts';
import { isReservedName } from './whiteout.ts';

/** Symlinks followed in one resolution, as Linux has it. */
const SYMLINKS_MAX = 40;
/** Components of symlink texts that a layer may lead through: an allowance, and more for each path. */
const TEXT_BUDGET = 1_000_000;
const TEXT_BUDGET_PER_PATH = 256;
/** Directories remembered by their path. */
const CACHED_PATHS = 256;
/** Directories on the way to them that are known one by one. */
const CACHED_CHAIN = 65_536;

/** Where the directory of a whiteout is, as the layers below had it. */
export interface LowerDirectory<N> {
  /** Undefined where nothing from below is. */
  readonly directory: N | undefined;
  /** The node in the way, which is not a directory. */
  readonly file?: string;
  /** A symlink of this layer that the path leads through. */
  readonly link?: string;
}

/** Learns of each symlink from below that a path leads through, once. */
export type OnLowerSymlink = (name: string) => void;

/** A component still to come; or a symlink and the directory that it is in, whose end has been reached when its turn comes. */
type Step<N> = string | { readonly symlink: N; readonly from: N };

/** The part of a path that exists: the last directory, the names below it that do not exist, or a file that is in the way. */
interface Walked<N> {
  readonly at: N;
  readonly missing: readonly string[];
  readonly file: { readonly name: string; readonly node: N } | undefined;
  /** Whether each component led from a directory to one in it: neither a symlink nor `..` was on the way. */
  readonly isPlain: boolean;
}

/** Resolves the paths of one layer; see the rules of a layer in this folder's README. */
export class PathResolver<N> {
  readonly #tree: LayerTree<N>;
  /** Directories by path as a layer spells it. */
  readonly #byPath = new Map<string, N>();
  /** Where a symlink leads from a directory: it may have names in several (hard links), and a relative text starts at each. */
  readonly #bySymlink = new Map<N, { readonly from: N; readonly to: N }>();
  /** Directories on the plain paths among these, and maybe more: while all stay, so do the ends of the paths. */
  readonly #chain = new Set<N>();
  /** Whether a path that is not plain is remembered, which is valid until any directory or symlink goes. */
  #isIndirect = false;
  /** Texts of the symlinks from below that this layer replaced, by directory and name. */
  readonly #replaced = new Map<N, Map<string, string>>();
  readonly #seenSymlinks = new Set<N>();
  #budget = TEXT_BUDGET;

  constructor(tree: LayerTree<N>) {
    this.#tree = tree;
  }

  /** The directory at a path that {@link create} or {@link find} was called with, if it is remembered. */
  known(path: string): N | undefined {
    return this.#byPath.get(path);
  }

  /**
   * The directory of an entry, by its path as the layer spells it and by the components of that; what is missing is created
   * with the attributes of a directory that no entry names.
   * AccelError `tar-invalid` where the path leads through a file, or symlinks go in circles.
   */
  create(path: string, components: readonly string[], onLowerSymlink: OnLowerSymlink): N {
    const known = this.#byPath.get(path);
    if (known !== undefined) return known;
    const { at, missing, file, isPlain } = this.#walk(components, onLowerSymlink);
    if (file !== undefined) throw notADirectory(file.name, this.#tree.kind(file.node));
    let found = at;
    for (const name of missing) {
      found = this.#createDirectory(found, name);
      if (isPlain) this.#chain.add(found);
    }
    this.#remember(path, found, isPlain);
    return found;
  }

  /** The directory of a hard link's target, by its path and the components of that, or undefined. */
  find(path: string, components: readonly string[]): N | undefined {
    const known = this.#byPath.get(path);
    if (known !== undefined) return known;
    const { at, missing, file, isPlain } = this.#walk(components);
    if (missing.length > 0 || file !== undefined) return undefined;
    // An entry that leads through a symlink from below reports it, and is not to find the path here.
    if (isPlain) this.#remember(path, at, isPlain);
    return at;
  }

  /**
   * The directory of a whiteout in the layers below: a directory that this layer made holds nothing from below, and a
   * symlink of this layer counts as what it replaced.
   */
  findLower(components: readonly string[], onLowerSymlink: OnLowerSymlink): LowerDirectory<N> {
    this.#budget += TEXT_BUDGET_PER_PATH;
    let at = this.#tree.root;
    let links = 0;
    let missing = 0;
    const ahead = [...components].reverse();
    for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (missing > 0) missing--;
        else at = this.#tree.parent(at);
        continue;
      }
      const next = missing > 0 ? undefined : this.#tree.child(at, name);
      if (next === undefined) {
        missing++;
        continue;
      }
      const kind = this.#tree.kind(next);
      const isOwn = this.#tree.isOwn(at, name);
      if (kind === 'directory') {
        if (isOwn) return { directory: undefined };
        at = next;
        continue;
      }
      if (kind !== 'symlink') return { directory: undefined, file: name };
      const text = isOwn ? this.#replaced.get(at)?.get(name) : this.#tree.target(next);
      if (text === undefined) return { directory: undefined, link: name };
      if (!isOwn) this.#announce(next, name, onLowerSymlink);
      links = this.#countLink(links, name);
      if (text.startsWith('/')) at = this.#tree.root;
      this.#pushText(text, ahead);
    }
    return { directory: missing === 0 ? at : undefined };
  }

  /** To be called before a name with a directory or symlink under it goes: paths through it lead elsewhere from then on. */
  forget(directory: N, name: string, node: N): void {
    const kind = this.#tree.kind(node);
    if (kind !== 'directory' && kind !== 'symlink') return;
    if (this.#isIndirect || this.#chain.has(node)) this.forgetAll();
    if (kind !== 'symlink' || this.#tree.isOwn(directory, name)) return;
    const texts = this.#replaced.get(directory) ?? new Map<string, string>();
    texts.set(name, this.#tree.target(node));
    this.#replaced.set(directory, texts);
  }

  /** To be called when whiteouts may have taken directories or symlinks away. */
  forgetAll(): void {
    this.#byPath.clear();
    this.#bySymlink.clear();
    this.#chain.clear();
    this.#isIndirect = false;
  }

  #remember(path: string, directory: N, isPlain: boolean): void {
    if (this.#chain.size > CACHED_CHAIN) {
      this.forgetAll();
      return;
    }
    if (this.#byPath.size >= CACHED_PATHS) this.#byPath.delete(this.#byPath.keys().next().value!);
    if (!isPlain) this.#isIndirect = true;
    this.#byPath.set(path, directory);
  }

  /**
   * Walks a path as far as it exists. `..` leaves a directory that does not exist as it leaves any other, without making
   * it: `nowhere/../etc` is `etc`, as for other unpackers.
   */
  #walk(components: readonly string[], onLowerSymlink?: OnLowerSymlink): Walked<N> {
    this.#budget += TEXT_BUDGET_PER_PATH;
    let at = this.#tree.root;
    let links = 0;
    let isPlain = true;
    const missing: string[] = [];
    const ahead: Step<N>[] = [...components].reverse();
    for (let step = ahead.pop(); step !== undefined; step = ahead.pop()) {
      if (typeof step !== 'string') {
        if (missing.length === 0) {
          this.#bySymlink.set(step.symlink, { from: step.from, to: at });
          this.#isIndirect = true;
        }
        continue;
      }
      if (step === '' || step === '.') continue;
      if (step === '..') {
        isPlain = false;
        if (missing.pop() === undefined) at = this.#tree.parent(at);
        continue;
      }
      const next = missing.length > 0 ? undefined : this.#tree.child(at, step);
      if (next === undefined) {
        missing.push(step);
        continue;
      }
      const kind = this.#tree.kind(next);
      if (kind === 'directory') {
        if (isPlain) this.#chain.add(next);
        at = next;
        continue;
      }
      if (kind !== 'symlink') return { at, missing, file: { name: step, node: next }, isPlain };
      isPlain = false;
      if (onLowerSymlink !== undefined && !this.#tree.isOwn(at, step)) this.#announce(next, step, onLowerSymlink);
      links = this.#countLink(links, step);
      const end = this.#bySymlink.get(next);
      if (end?.from === at) {
        at = end.to;
        continue;
      }
      const text = this.#tree.target(next);
      ahead.push({ symlink: next, from: at });
      if (text.startsWith('/')) at = this.#tree.root;
      this.#pushText(text, ahead);
    }
    return { at, missing, file: undefined, isPlain };
  }

  #createDirectory(parent: N, name: string): N {
    if (isReservedName(name)) {
      throw new AccelError('tar-invalid', 'a symlink of the path leads to a name that only whiteouts have', {
        found: printable(name),
      });
    }
    return this.#tree.create(parent, name, {
      kind: 'directory',
      attributes: IMPLICIT_DIRECTORY,
      target: '',
      deviceMajor: 0,
      deviceMinor: 0,
    });
  }

  #announce(symlink: N, name: string, onLowerSymlink: OnLowerSymlink): void {
    if (this.#seenSymlinks.has(symlink)) return;
    this.#seenSymlinks.add(symlink);
    onLowerSymlink(name);
  }

  #countLink(links: number, name: string): number {
    if (links < SYMLINKS_MAX) return links + 1;
    throw new AccelError('tar-invalid', 'the symlinks of a path go in circles', {
      expected: `at most ${SYMLINKS_MAX} symlinks`,
      found: printable(name),
    });
  }

  #pushText(text: string, ahead: (Step<N> | string)[]): void {
    const components = text.split('/').reverse();
    this.#budget -= components.length;
    if (this.#budget < 0) {
      throw new AccelError('limit-exceeded', 'the paths of a layer lead through too many symlinks', {
        expected: `at most ${TEXT_BUDGET} components of symlink texts, and ${TEXT_BUDGET_PER_PATH} more for each path`,
        hint: 'Build the layer with the names of the directories themselves instead of symlinks to them.',
      });
    }
    for (const component of components) ahead.push(component);
  }
}

function notADirectory(name: string, kind: NodeKind): AccelError {
  return new AccelError('tar-invalid', 'a directory of the path is not a directory', {
    expected: 'a directory, or a symlink to one',
    found: `${printable(name)} is a ${kind}`,
    hint:
      "Let the layer remove the file (a whiteout) before it makes the directory: containerd's overlayfs would hide the file " +
      'of a lower layer behind a directory, but other unpackers refuse the layer.',
  });
}
