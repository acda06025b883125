/**
 * Flattens layers into one tree, in the plainest way that the OCI image-spec (layer.md) allows: first all that a layer's
 * whiteouts take from the layers below, then its entries one after another. Deliberately apart from formats/ext4, whose
 * work it is there to check.
 */
import { AccelError, withPlace } from '../../base/error.ts';
import { printable } from '../../formats/bytes/printable.ts';
import type { LayerEntry, SourceAttributes, SourceNode } from './node.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Names that AUFS kept for itself. */
const AUFS = '.wh..wh.';
/** Symlinks followed for one path, as Linux has it. */
const MAX_SYMLINKS = 40;
/** A directory that no entry names, and the root until one does. */
const UNNAMED: SourceAttributes = {
  type: 'directory',
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  size: 0,
  xattrs: new Map(),
  deviceMajor: 0,
  deviceMinor: 0,
};

/** A node while layers are applied to it. */
class Node implements SourceNode {
  attributes: SourceAttributes;
  links = 0;
  readonly children: Map<string, Node> | undefined;
  /** What the current layer's whiteouts took away: its hard links may still refer to it. */
  hidden: Map<string, Node> | undefined;

  constructor(attributes: SourceAttributes) {
    this.attributes = attributes;
    this.children = attributes.type === 'directory' ? new Map() : undefined;
  }
}

/** What to do where a path leads nowhere: make directories, give up, or look also at what whiteouts took away. */
type Missing = 'create' | 'none' | 'hidden';

/** A tree that grows layer by layer, the lowest first. */
export class SourceTreeBuilder {
  readonly #root = new Node(UNNAMED);

  /** Applies the entries of the next layer. Throws `tar-invalid` for paths that lead out of the image or through files. */
  apply(entries: readonly LayerEntry[]): void {
    const emptied: Node[] = [];
    for (const entry of entries) located(entry, () => this.#applyWhiteout(entry, emptied));
    for (const entry of entries) located(entry, () => this.#applyEntry(entry));
    for (const directory of emptied) directory.hidden = undefined;
  }

  /** The root of the finished tree, with its links counted. */
  finish(): SourceNode {
    const pending: Node[] = [this.#root];
    this.#root.links = 2;
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      for (const child of at.children!.values()) {
        if (child.children === undefined) {
          child.links++;
          continue;
        }
        at.links++;
        child.links = 2;
        pending.push(child);
      }
    }
    return this.#root;
  }

  #applyWhiteout(entry: LayerEntry, emptied: Node[]): void {
    const parts = partsOf(entry.name);
    const last = parts.pop();
    if (last === undefined || !last.startsWith(WHITEOUT)) return;
    if (parts.some(isAufs) || (isAufs(last) && last !== OPAQUE)) return;
    const hidden = last === OPAQUE ? undefined : whiteoutName(last);
    const directory = this.#directory(parts, 'none');
    if (directory === undefined) return;
    const names = hidden === undefined ? [...directory.children!.keys()] : [hidden];
    for (const name of names) {
      const child = directory.children!.get(name);
      if (child === undefined) continue;
      directory.children!.delete(name);
      directory.hidden ??= new Map();
      directory.hidden.set(name, child);
      emptied.push(directory);
    }
  }

  #applyEntry(entry: LayerEntry): void {
    const parts = partsOf(entry.name);
    const name = parts.pop();
    // What AUFS kept for itself, and whatever lies in it, is no part of the image.
    if (name?.startsWith(WHITEOUT) === true || parts.some(isAufs)) return;
    if (name === undefined) {
      if (entry.type !== 'directory') throw new AccelError('tar-invalid', 'an entry would replace the root directory');
      this.#root.attributes = renewed(this.#root, entry);
      return;
    }
    const siblings = this.#directory(parts, 'create')!.children!;
    const existing = siblings.get(name);
    if (entry.type === 'link') siblings.set(name, this.#linkTarget(entry));
    else if (entry.type === 'directory' && existing?.children !== undefined)
      existing.attributes = renewed(existing, entry);
    else siblings.set(name, new Node(attributesOf(entry)));
  }

  #linkTarget(entry: LayerEntry): Node {
    const parts = partsOf(entry.linkName);
    const name = parts.pop();
    const directory = this.#directory(parts, 'hidden');
    const target = name === undefined ? undefined : childOf(directory, name, 'hidden');
    if (target !== undefined && target.children === undefined) return target;
    throw new AccelError('tar-invalid', 'the target of a hard link is no file of the image', {
      found: printable(entry.linkName),
    });
  }

  /** The directory that the parts of a path lead to, symlinks followed inside the root. */
  #directory(parts: readonly string[], missing: Missing): Node | undefined {
    const trail: Node[] = [this.#root];
    const ahead = [...parts].reverse();
    let followed = 0;
    for (let part = ahead.pop(); part !== undefined; part = ahead.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const here = trail.at(-1)!;
      let next = childOf(here, part, missing);
      if (next === undefined && missing === 'create') {
        next = new Node(UNNAMED);
        here.children!.set(part, next);
      }
      if (next === undefined) return undefined;
      if (next.attributes.target !== undefined) {
        if (++followed > MAX_SYMLINKS) throw new AccelError('tar-invalid', 'the symlinks of a path go in circles');
        if (next.attributes.target.startsWith('/')) trail.length = 1;
        for (const piece of next.attributes.target.split('/').reverse()) ahead.push(piece);
      } else if (next.children !== undefined) trail.push(next);
      else if (missing !== 'create') return undefined;
      else throw new AccelError('tar-invalid', 'a path leads through a file', { found: printable(part) });
    }
    return trail.at(-1);
  }
}

function childOf(directory: Node | undefined, name: string, missing: Missing): Node | undefined {
  return directory?.children?.get(name) ?? (missing === 'hidden' ? directory?.hidden?.get(name) : undefined);
}

/** A repeated entry for a directory sets its attributes and adds to its extended ones. */
function renewed(node: Node, entry: LayerEntry): SourceAttributes {
  return { ...attributesOf(entry), xattrs: new Map([...node.attributes.xattrs, ...entry.xattrs]) };
}

function attributesOf({ name: _, type, linkName, tarOffset: __, ...rest }: LayerEntry): SourceAttributes {
  if (type === 'link') throw new AccelError('internal', 'a hard link has no attributes of its own');
  return type === 'symlink' ? { ...rest, type, target: linkName } : { ...rest, type };
}

/** The parts of a tar path; `a/..` goes, and what would leave the root is refused. */
function partsOf(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) {
      throw new AccelError('tar-invalid', 'a path leads out of the image', { found: printable(path) });
    }
  }
  return parts;
}

function whiteoutName(name: string): string {
  const hidden = name.slice(WHITEOUT.length);
  if (hidden !== '' && hidden !== '.' && hidden !== '..') return hidden;
  throw new AccelError('tar-invalid', 'a whiteout names no file', { found: printable(name) });
}

function located(entry: LayerEntry, step: () => void): void {
  try {
    step();
  } catch (error) {
    throw withPlace(error, { path: printable(entry.name), tarOffset: entry.tarOffset });
  }
}

function isAufs(name: string): boolean {
  return name.startsWith(AUFS);
}
