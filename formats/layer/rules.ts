/**
 * Applies the entries of a layer to the tree of the layers below it (OCI image-spec, layer.md): later entries replace
 * earlier ones, directories keep their content, whiteouts remove what lies below, hard links share an inode. Conversion
 * and verification both apply layers by these rules; a README in this folder lists them.
 */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { MAX_SECONDS, MIN_SECONDS } from '../ext4/inode.ts';
import type { TarTime } from '../tar/entry.ts';
import { cleanPath, dividePath } from './path.ts';
import { PathResolver } from './resolve.ts';
import {
  type EntryHeader,
  finish,
  type LayerTree,
  type NodeAttributes,
  type NodeKind,
  type RuleReport,
  type Steps,
  type Xattrs,
} from './tree.ts';
import { isAufsDirectory, isReservedName, type NamedDirectory, parseWhiteout, Whiteouts } from './whiteout.ts';
import { leftOut, sameXattrs, xattrsAfter, xattrsAfterChown } from './xattrs.ts';

/** Mode of every symlink: Linux has no permissions of symlinks and shows all of them. */
const SYMLINK_MODE = 0o777;
const NO_XATTRS: Xattrs = new Map();
/** Directories that may be passed on the way up from the targets of hard links that replace a directory: in a layer, and per link. */
const CLIMBS = 1_000_000;
const CLIMBS_PER_LINK = 4096;

/** An entry that is not applied yet, because it removes what may be a large part of the tree. */
export class Unfinished<N> {
  /** Ends with what {@link LayerRules.apply} answers. */
  readonly steps: Steps<N | undefined>;

  constructor(steps: Steps<N | undefined>) {
    this.steps = steps;
  }
}

/** Applies one layer to a tree; make a new one for each layer. */
export class LayerRules<N> {
  readonly #tree: LayerTree<N>;
  readonly #report: RuleReport;
  readonly #paths: PathResolver<N>;
  /** Directories from below that entries of this layer name. */
  readonly #named = new Map<N, NamedDirectory>();
  readonly #whiteouts: Whiteouts<N>;
  #linkedBelow = false;
  /** Directories that {@link #contains} may still pass. */
  #climbs = CLIMBS;

  constructor(tree: LayerTree<N>, report: RuleReport) {
    this.#tree = tree;
    this.#report = report;
    this.#paths = new PathResolver(tree);
    this.#whiteouts = new Whiteouts(tree, this.#named);
  }

  /**
   * Applies the next entry. Returns the inode that it made, for the content of a file, or undefined if it made none.
   * AccelError `tar-invalid`, `layer-unsupported` or `limit-exceeded` for entries that no tree can hold.
   */
  apply(entry: EntryHeader): N | undefined {
    const begun = this.begin(entry);
    return begun instanceof Unfinished ? finish(begun.steps) : begun;
  }

  /** As {@link apply}, but leaves steps that may take long to the caller, who does them before the next entry. */
  begin(entry: EntryHeader): N | undefined | Unfinished<N> {
    const divided = dividePath(entry.name);
    if (divided !== undefined && !isReservedName(divided.name)) {
      const known = this.#paths.known(divided.directory);
      if (known !== undefined) return this.#enter(known, divided.name, entry);
    }
    const components = cleanPath(entry.name, 'path');
    const name = components.pop();
    if (name === undefined) {
      this.#applyRoot(entry);
      return undefined;
    }
    const reserved = components.find(isReservedName);
    if (reserved !== undefined) {
      if (!isAufsDirectory(reserved)) {
        this.#report.changed(
          'an entry below a whiteout is not part of the image and was left out',
          printable(entry.name),
        );
      }
      return undefined;
    }
    const whiteout = parseWhiteout(name);
    if (whiteout.kind === 'ignored') return undefined;
    if (whiteout.kind !== 'none') {
      return this.#whiteOut(components, whiteout.kind === 'opaque' ? undefined : whiteout.name, entry);
    }
    const path = divided?.directory ?? components.join('/');
    const parent = this.#paths.create(path, components, (link) => this.#reportLowerSymlink(link, entry));
    return this.#enter(parent, name, entry);
  }

  #enter(parent: N, name: string, entry: EntryHeader): N | undefined | Unfinished<N> {
    return entry.type === 'link' ? this.#link(parent, name, entry) : this.#place(parent, name, entry);
  }

  #applyRoot(entry: EntryHeader): void {
    if (entry.type !== 'directory') {
      throw new AccelError('tar-invalid', 'an entry would replace the root directory', {
        expected: 'a directory',
        found: entry.type,
      });
    }
    this.#named.set(this.#tree.root, this.#update(this.#tree.root, entry));
  }

  /** Removes `name` from below the directory, or everything from below in it. */
  #whiteOut(components: readonly string[], name: string | undefined, entry: EntryHeader): Unfinished<N> | undefined {
    const lower = this.#paths.findLower(components, (link) => this.#reportLowerSymlink(link, entry));
    if (lower.directory === undefined) {
      if (lower.file !== undefined) {
        this.#report.differs(
          `a whiteout below ${printable(lower.file)}, which is not a directory, removes nothing; containerd refuses to unpack such a layer`,
          printable(entry.name),
        );
      } else if (lower.link !== undefined) {
        this.#report.differs(
          `a whiteout below ${printable(lower.link)}, a symlink that this layer made, removes nothing, because whiteouts are about lower layers; containerd follows the symlink and removes what it leads to`,
          printable(entry.name),
        );
      }
      return undefined;
    }
    this.#paths.forgetAll();
    const { directory } = lower;
    const steps = name === undefined ? this.#whiteouts.empty(directory) : this.#whiteouts.remove(directory, name);
    return new Unfinished<N>(then(steps, () => undefined));
  }

  #place(parent: N, name: string, entry: EntryHeader): N | undefined | Unfinished<N> {
    const existing = this.#tree.child(parent, name);
    if (existing !== undefined) {
      if (entry.type === 'directory' && this.#tree.kind(existing) === 'directory') {
        const own = this.#tree.isOwn(parent, name);
        const said = this.#update(existing, entry);
        if (!own) this.#named.set(existing, said);
        return undefined;
      }
      return this.#replace({ parent, name, node: existing }, () => this.#make(parent, name, entry));
    }
    return this.#make(parent, name, entry);
  }

  #make(parent: N, name: string, entry: EntryHeader): N {
    const kind = entry.type as NodeKind;
    const attributes = this.#attributes(entry, kind);
    const xattrs = xattrsAfter(NO_XATTRS, this.#keptXattrs(entry, kind), attributes.mode);
    const node = this.#tree.create(parent, name, {
      kind,
      attributes,
      target: entry.linkName,
      deviceMajor: entry.devMajor,
      deviceMinor: entry.devMinor,
    });
    if (xattrs.size > 0) this.#tree.setXattrs(node, xattrs);
    return node;
  }

  /** A repeated entry for a directory sets its attributes and adds to its extended ones; answers what this layer says. */
  #update(directory: N, entry: EntryHeader): NamedDirectory {
    const attributes = this.#attributes(entry, 'directory');
    const kept = this.#keptXattrs(entry, 'directory');
    const current = this.#tree.xattrs(directory);
    const after = xattrsAfter(current, kept, attributes.mode);
    this.#tree.setAttributes(directory, attributes);
    if (kept.size > 0 || !sameXattrs(after, current)) this.#tree.setXattrs(directory, after);
    const said = this.#named.get(directory)?.xattrs;
    return { mode: attributes.mode, xattrs: said === undefined ? kept : new Map([...said, ...kept]) };
  }

  /** Gives the target one more name, and the attributes of the link's own header. */
  #link(parent: N, name: string, entry: EntryHeader): N | undefined | Unfinished<N> {
    const { directory, target, isOwn } = this.#linkTarget(entry);
    const complete = (): undefined => {
      this.#renew(target, entry);
      this.#reportLowerTarget(entry, isOwn);
    };
    const existing = this.#tree.child(parent, name);
    if (existing === target) {
      // The name exists already; it is this layer's now, so that its whiteouts spare it.
      this.#tree.markOwn(parent, name);
      return complete();
    }
    const link = (): undefined => {
      this.#tree.link(parent, name, target);
      return complete();
    };
    if (existing === undefined) return link();
    if (this.#contains(existing, directory)) {
      throw new AccelError('tar-invalid', 'a hard link would replace a directory that holds its target', {
        found: printable(entry.linkName),
      });
    }
    return this.#replace({ parent, name, node: existing }, link);
  }

  #reportLowerTarget(entry: EntryHeader, isOwn: boolean): void {
    if (isOwn || this.#linkedBelow) return;
    this.#linkedBelow = true;
    this.#report.differs(
      `a hard link to ${printable(entry.linkName)} of a lower layer shares that file; containerd's overlayfs refuses to unpack such a layer`,
      printable(entry.name),
    );
  }

  #linkTarget(entry: EntryHeader): { readonly directory: N; readonly target: N; readonly isOwn: boolean } {
    const { directory, name } = this.#linkPlace(entry.linkName);
    const target = name === undefined || directory === undefined ? directory : this.#tree.child(directory, name);
    if (directory === undefined || target === undefined) {
      throw new AccelError('tar-invalid', 'the target of a hard link does not exist', {
        expected: 'a file of this layer in front of the link, or of a lower layer',
        found: printable(entry.linkName),
      });
    }
    if (this.#tree.kind(target) === 'directory') {
      throw new AccelError('tar-invalid', 'the target of a hard link is a directory', {
        expected: 'a file',
        found: printable(entry.linkName),
      });
    }
    return { directory, target, isOwn: this.#tree.isOwn(directory, name!) };
  }

  #linkPlace(linkName: string): { readonly directory: N | undefined; readonly name: string | undefined } {
    const divided = dividePath(linkName);
    const known = divided && this.#paths.known(divided.directory);
    if (known !== undefined) return { directory: known, name: divided!.name };
    const components = cleanPath(linkName, 'hard link target');
    const name = components.pop();
    return { directory: this.#paths.find(divided?.directory ?? components.join('/'), components), name };
  }

  /** Owner, attributes, mode and time of an entry upon an inode that exists, in the order in which runtimes set them. */
  #renew(node: N, entry: EntryHeader): void {
    const kind = this.#tree.kind(node);
    const attributes = this.#attributes(entry, kind);
    const current = this.#tree.xattrs(node);
    const after = xattrsAfter(xattrsAfterChown(current, kind), this.#keptXattrs(entry, kind), attributes.mode);
    this.#tree.setAttributes(node, attributes);
    if (!sameXattrs(after, current)) this.#tree.setXattrs(node, after);
  }

  /** Removes a name and makes another thing in its place: in steps when it is that of a directory with content. */
  #replace({ parent, name, node }: Named<N>, make: () => N | undefined): N | undefined | Unfinished<N> {
    this.#paths.forget(parent, name, node);
    if (this.#tree.kind(node) === 'directory' && !this.#tree.isEmpty(node))
      return new Unfinished(then(this.#tree.removeTree(parent, name), make));
    this.#tree.remove(parent, name);
    return make();
  }

  /** True when `directory` is `ancestor` or lies below it. */
  #contains(ancestor: N, directory: N): boolean {
    if (ancestor === directory) return true;
    if (this.#tree.kind(ancestor) !== 'directory' || this.#tree.isEmpty(ancestor)) return false;
    this.#climbs += CLIMBS_PER_LINK;
    for (let at = directory; ; at = this.#tree.parent(at)) {
      if (--this.#climbs < 0) throw tooDeep();
      if (at === ancestor) return true;
      if (at === this.#tree.root) return false;
    }
  }

  #attributes(entry: EntryHeader, kind: NodeKind): NodeAttributes {
    const mode = kind === 'symlink' ? SYMLINK_MODE : entry.mode;
    return { mode, uid: entry.uid, gid: entry.gid, mtime: this.#keptTime(entry.mtime, entry.name) };
  }

  #keptTime(time: TarTime, path: string): TarTime {
    if (time.seconds >= MIN_SECONDS && time.seconds <= MAX_SECONDS) return time;
    this.#report.changed(
      'a modification time is outside of what ext4 can hold (1901 to 2446); the nearest was kept',
      printable(path),
    );
    return time.seconds < MIN_SECONDS
      ? { seconds: MIN_SECONDS, nanoseconds: 0 }
      : { seconds: MAX_SECONDS, nanoseconds: 999_999_999 };
  }

  #keptXattrs(entry: EntryHeader, kind: NodeKind): Xattrs {
    if (entry.xattrs.size === 0) return entry.xattrs;
    const names = [...entry.xattrs.keys()];
    const nowhere = names.filter((name) => leftOut(name, kind) === 'nowhere');
    const misplaced = names.filter((name) => leftOut(name, kind) === 'not on this kind');
    if (nowhere.length + misplaced.length === 0) return entry.xattrs;
    const list = (some: readonly string[]): string => some.map(printable).join(', ');
    const path = printable(entry.name);
    if (nowhere.length > 0)
      this.#report.changed(`extended attributes outside of Linux's namespaces were left out: ${list(nowhere)}`, path);
    if (misplaced.length > 0)
      this.#report.changed(
        `extended attributes that Linux does not store on a ${kind} were left out: ${list(misplaced)}`,
        path,
      );
    return new Map([...entry.xattrs].filter(([name]) => leftOut(name, kind) === undefined));
  }

  #reportLowerSymlink(link: string, entry: EntryHeader): void {
    this.#report.differs(
      `the path leads through ${printable(link)}, a symlink of a lower layer, and is followed; containerd's overlayfs makes a directory in its place instead`,
      printable(entry.name),
    );
  }
}

/** An inode under a name. */
interface Named<N> {
  readonly parent: N;
  readonly name: string;
  readonly node: N;
}

function* then<N>(steps: Steps, make: () => N | undefined): Steps<N | undefined> {
  yield* steps;
  return make();
}

function tooDeep(): AccelError {
  return new AccelError('limit-exceeded', 'hard links to deeply nested files replace too many directories', {
    expected: `at most ${CLIMBS} directories above their targets, and ${CLIMBS_PER_LINK} more for each link`,
    hint: 'Build the layer with fewer levels of directories.',
  });
}
