/**
 * Works out the tree of a stack of layers from its entries and not from a tar: the rules of the OCI image-spec
 * (layer.md) in the plainest form, in two steps a layer: its whiteouts upon what lies below, then its entries. Shares no
 * code with the product.
 */
import { createHash } from 'node:crypto';
import {
  contentOf,
  type EntryAttributes,
  type StackEntry,
  type StackLayer,
  sparseContentOf,
} from '../../fixtures/stack-entry.ts';
import type { EntryType, TreeEntry } from './tree.ts';

/** An entry that no layer may have: the layer's number (0 the lowest), the entry, and the rule that it breaks. */
export interface Refusal {
  readonly layer: number;
  readonly entry: StackEntry;
  readonly rule: string;
}

class Broken extends Error {}

/** Symlinks that one path may lead through, as Linux has it. */
const MAX_SYMLINKS = 40;
/** Longest name, as Linux and ext4 have it: a symlink's text may ask for a longer one. */
const NAME_MAX = 255;
const MIN_SECONDS = -(2 ** 31);
const MAX_SECONDS = 2 ** 34 - 2 ** 31 - 1;
const UNNAMED: EntryAttributes = { mode: 0o755, uid: 0, gid: 0, seconds: 0, nanoseconds: 0, xattrs: {} };

class Node {
  readonly type: EntryType;
  attributes: EntryAttributes;
  size = 0;
  /** The source of a file's content. */
  content: Extract<StackEntry, { kind: 'file' | 'sparse' }> | undefined;
  target: string | undefined;
  device: readonly [number, number] | undefined;
  readonly children = new Map<string, Node>();
  /** Entries that whiteouts of the current layer removed from this directory, and the node that was in its place before. */
  readonly taken = new Map<string, Node>();
  shadow: Node | undefined;

  constructor(type: EntryType, attributes: EntryAttributes) {
    this.type = type;
    this.attributes = attributes;
  }

  /** The entry that a whiteout of the current layer removed from under `name`, here or with a whole directory above. */
  takenFrom(name: string): Node | undefined {
    return this.taken.get(name) ?? this.shadow?.children.get(name) ?? this.shadow?.takenFrom(name);
  }
}

/** The strictness of the model. */
export interface ModelOptions {
  /**
   * Refuse also entries that have a meaning only where whiteouts come first: paths through symlinks, and entries below what a
   * whiteout of their layer turns from a file into nothing. The image-spec asks writers to put whiteouts first.
   */
  readonly anyOrder: boolean;
  /**
   * Refuse whiteouts behind a symlink or hard link of their own layer, which containerd and umoci follow: whiteouts are
   * about the lower layers, and a link of the layer hides nothing but what they had in its place.
   */
  readonly noWhiteoutsBehindLinks?: boolean;
  /** Leave a file as it is when an entry makes a hard link to it, as umoci and GNU tar do. */
  readonly ignoreLinkHeaders?: boolean;
}

/** The meaning of a stack. */
export interface StackMeaning {
  /** The trees of the first layer, the first two, and so on to all of them, or to the last one before a refusal. */
  readonly trees: readonly TreeEntry[][];
  /** The reason why there is no image, if the stack has no meaning. */
  readonly refusal: Refusal | undefined;
}

/** Works out what a stack means. */
export function readStack(stack: readonly StackLayer[], options: ModelOptions): StackMeaning {
  const root = new Node('directory', UNNAMED);
  const trees: TreeEntry[][] = [];
  for (const [number, layer] of stack.entries()) {
    const [refusal] = new LayerModel(root, layer, number, options).apply();
    if (refusal !== undefined) return { trees, refusal };
    trees.push(treeOf(root));
  }
  return { trees, refusal: undefined };
}

/** A stack without the entries that are refused, layer by layer; `finish` makes a layer out of the files that exist. */
export function soundLayers<Draft>(
  drafts: readonly Draft[],
  finish: (draft: Draft, files: readonly string[]) => StackLayer,
  options: ModelOptions,
): StackLayer[] {
  const layers: StackLayer[] = [];
  for (const draft of drafts) {
    const below = rootOf(layers, options);
    let layer = finish(draft, filesOf(below));
    for (;;) {
      // A refused entry may have made parents before it was refused; without it they are gone: so once again.
      const refused = new LayerModel(rootOf(layers, options), layer, layers.length, options).apply();
      if (refused.length === 0) break;
      const gone = new Set(refused.map(({ entry }) => entry));
      layer = layer.filter((entry) => !gone.has(entry));
    }
    layers.push(layer);
  }
  return layers;
}

function rootOf(layers: readonly StackLayer[], options: ModelOptions): Node {
  const root = new Node('directory', UNNAMED);
  for (const [number, layer] of layers.entries()) new LayerModel(root, layer, number, options).apply();
  return root;
}

/** Paths of everything but directories, without the slash in front: what a hard link may lead to. */
function filesOf(root: Node): string[] {
  const files: string[] = [];
  const pending = [...root.children].map(([name, node]) => ({ path: name, node }));
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    if (at.node.type !== 'directory') files.push(at.path);
    for (const [name, node] of at.node.children) pending.push({ path: `${at.path}/${name}`, node });
  }
  return files.sort();
}
class LayerModel {
  readonly #root: Node;
  readonly #layer: StackLayer;
  readonly #number: number;
  readonly #anyOrder: boolean;
  /** Paths after which no whiteout may come. */
  readonly #links: ReadonlySet<string>;
  readonly #ignoreLinkHeaders: boolean;
  readonly #touched: Node[] = [];

  constructor(root: Node, layer: StackLayer, number: number, options: ModelOptions) {
    this.#root = root;
    this.#layer = layer;
    this.#number = number;
    this.#anyOrder = options.anyOrder;
    this.#ignoreLinkHeaders = options.ignoreLinkHeaders === true;
    const links = layer.filter(({ kind }) => kind === 'symlink' || kind === 'link');
    this.#links = new Set(options.noWhiteoutsBehindLinks === true ? links.map(({ path }) => path) : []);
  }

  /** Applies what can be applied; answers what is refused, in the order in which it was met. */
  apply(): Refusal[] {
    const refused: Refusal[] = [];
    for (const entry of this.#layer) this.#try(entry, refused, () => this.#whiteout(entry));
    for (const entry of this.#layer) this.#try(entry, refused, () => this.#entry(entry));
    for (const node of this.#touched) {
      node.taken.clear();
      node.shadow = undefined;
    }
    return refused;
  }

  #try(entry: StackEntry, refused: Refusal[], step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      refused.push({ layer: this.#number, entry, rule: error.message });
    }
  }

  #whiteout(entry: StackEntry): void {
    if (entry.kind !== 'whiteout' && entry.kind !== 'opaque') return;
    const parts = partsOf(entry.path);
    const behind = entry.kind === 'whiteout' ? parts.slice(0, -1) : parts;
    if (behind.some((_, i) => this.#links.has(parts.slice(0, i + 1).join('/'))))
      throw new Broken('a whiteout behind a link of its layer');
    const name = entry.kind === 'whiteout' ? parts.pop() : undefined;
    const directory = this.#find(parts, false);
    if (directory === undefined) return;
    for (const hidden of name === undefined ? [...directory.children.keys()] : [name]) {
      const child = directory.children.get(hidden);
      if (child === undefined) continue;
      directory.children.delete(hidden);
      directory.taken.set(hidden, child);
      this.#touched.push(directory);
    }
  }

  #entry(entry: StackEntry): void {
    if (entry.kind === 'whiteout' || entry.kind === 'opaque' || entry.kind === 'aufs') return;
    const parts = partsOf(entry.path);
    const name = parts.pop();
    if (name === undefined) {
      if (entry.kind !== 'directory') throw new Broken('the root is a directory');
      this.#root.attributes = added(this.#root.attributes, entry.attributes, 'directory');
      return;
    }
    const parent = this.#find(parts, true)!;
    const existing = parent.children.get(name);
    if (entry.kind === 'link') this.#link(parent, name, entry);
    else if (entry.kind === 'directory' && existing?.type === 'directory')
      existing.attributes = added(existing.attributes, entry.attributes, 'directory');
    else this.#put(parent, name, makeNode(entry));
  }

  #link(parent: Node, name: string, { target, attributes }: Extract<StackEntry, { kind: 'link' }>): void {
    const parts = partsOf(target);
    const last = parts.pop();
    const holder = this.#find(parts, false);
    const node = last === undefined ? undefined : holder?.children.get(last);
    if (node === undefined) throw new Broken('a hard link leads to what is there');
    if (node.type === 'directory') throw new Broken('a hard link leads to a file');
    const existing = parent.children.get(name);
    if (existing !== undefined && existing !== node && within(existing, holder!))
      throw new Broken('a hard link does not replace its way');
    parent.children.set(name, node);
    if (this.#ignoreLinkHeaders) return;
    // Setting the owner of what is not a directory takes its capabilities away.
    const { 'security.capability': _, ...xattrs } = node.attributes.xattrs;
    node.attributes = added({ ...node.attributes, xattrs }, attributes, node.type);
  }

  #put(parent: Node, name: string, node: Node): void {
    if (node.type === 'directory') {
      node.shadow = parent.takenFrom(name);
      this.#touched.push(node);
    }
    parent.children.set(name, node);
  }

  /**
   * The directory that `parts` lead to; with `create` the missing ones are made, without it undefined where one is. Directories
   * that `..` leaves again are not made.
   */
  #find(parts: readonly string[], create: boolean): Node | undefined {
    let trail = [this.#root];
    let symlinks = 0;
    const missing: string[] = [];
    const ahead = [...parts];
    while (ahead.length > 0) {
      const part = ahead.shift()!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (missing.length > 0) missing.pop();
        else if (trail.length > 1) trail.pop();
        continue;
      }
      const next = missing.length > 0 ? undefined : trail.at(-1)!.children.get(part);
      if (next === undefined) {
        missing.push(part);
      } else if (next.target !== undefined) {
        if (this.#anyOrder) throw new Broken('a path through a symlink');
        symlinks++;
        if (symlinks > MAX_SYMLINKS) throw new Broken('symlinks do not go in circles');
        if (next.target.startsWith('/')) trail = [this.#root];
        ahead.unshift(...next.target.split('/'));
      } else if (next.type === 'directory') trail.push(next);
      else if (create) throw new Broken('a path leads through directories');
      else return undefined;
    }
    if (missing.length > 0 && !create) return undefined;
    for (const name of missing) trail.push(this.#makeMissing(trail.at(-1)!, name));
    return trail.at(-1);
  }

  #makeMissing(parent: Node, name: string): Node {
    if (name.length > NAME_MAX) throw new Broken('a name has at most 255 bytes');
    const before = parent.takenFrom(name);
    if (this.#anyOrder && before !== undefined && before.type !== 'directory')
      throw new Broken('a directory where a whiteout of the layer takes a file');
    const node = new Node('directory', UNNAMED);
    this.#put(parent, name, node);
    return node;
  }
}

function within(top: Node, wanted: Node): boolean {
  return top === wanted || [...top.children.values()].some((child) => within(child, wanted));
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}

/** Attributes as Linux and ext4 can keep them on an inode of that type: its xattrs, its ACL, times of 1901 to 2446. */
function kept(attributes: EntryAttributes, type: EntryType): EntryAttributes {
  return added({ ...attributes, xattrs: {} }, attributes, type);
}

/** The attributes of an inode that has one more entry: extended ones add to those that it has (the goldens). */
function added(existing: EntryAttributes, attributes: EntryAttributes, type: EntryType): EntryAttributes {
  const xattrs: Record<string, string> = { ...existing.xattrs };
  for (const [name, value] of Object.entries(attributes.xattrs)) {
    if (!isStored(name, type)) continue;
    // An ACL of owner, group and others alone (or of nothing) is no more than the mode: it takes an ACL away.
    if (name === ACL && value.length <= 4 + 3 * 8) delete xattrs[name];
    else xattrs[name] = value;
  }
  if (xattrs[ACL] !== undefined) xattrs[ACL] = underMode(xattrs[ACL], attributes.mode);
  const all = { ...attributes, mode: type === 'symlink' ? 0o777 : attributes.mode, xattrs };
  if (attributes.seconds < MIN_SECONDS) return { ...all, seconds: MIN_SECONDS, nanoseconds: 0 };
  if (attributes.seconds > MAX_SECONDS) return { ...all, seconds: MAX_SECONDS, nanoseconds: 999_999_999 };
  return all;
}

const ACL = 'system.posix_acl_access';

function isStored(name: string, type: EntryType): boolean {
  if (name === ACL) return type !== 'symlink';
  if (name.startsWith('user.')) return type === 'file' || type === 'directory';
  return /^(trusted|security)\../.test(name);
}

/** An ACL with a mask whose owner, mask and others have the permissions of the mode. */
function underMode(acl: string, mode: number): string {
  const bytes = Buffer.from(acl, 'latin1');
  const shifts: Record<number, number> = { 1: 6, 16: 3, 32: 0 };
  for (let at = 4; at < bytes.length; at += 8) {
    const shift = shifts[bytes[at]!];
    if (shift !== undefined) bytes[at + 2] = (mode >> shift) & 7;
  }
  return bytes.toString('latin1');
}

function makeNode(entry: Exclude<StackEntry, { kind: 'link' | 'whiteout' | 'opaque' | 'aufs' }>): Node {
  const type = entry.kind === 'sparse' ? 'file' : entry.kind;
  const node = new Node(type, kept(entry.attributes, type));
  if (entry.kind === 'symlink') {
    node.target = entry.target;
    node.size = entry.target.length;
  } else if (entry.kind === 'character' || entry.kind === 'block') {
    node.device = [entry.major, entry.minor];
  } else if (entry.kind === 'file' || entry.kind === 'sparse') {
    node.size = entry.kind === 'file' ? entry.content.size : entry.size;
    node.content = entry;
  }
  return node;
}

function treeOf(root: Node): TreeEntry[] {
  const listed: { path: string; node: Node }[] = [];
  const links = new Map<Node, number>();
  const pending = [{ path: '/', node: root }];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    listed.push(at);
    links.set(at.node, (links.get(at.node) ?? 0) + 1);
    for (const [name, node] of at.node.children)
      pending.push({ path: `${at.path === '/' ? '' : at.path}/${name}`, node });
  }
  listed.sort((a, b) => (a.path < b.path ? -1 : 1));
  const first = new Map<Node, string>();
  return listed.map(({ path, node }) => {
    if (!first.has(node)) first.set(node, path);
    const { mode, uid, gid, seconds, nanoseconds, xattrs } = node.attributes;
    const subdirectories = [...node.children.values()].filter(({ type }) => type === 'directory').length;
    return {
      ...{ path, type: node.type, mode, uid, gid, size: node.size, firstLink: first.get(node)! },
      mtimeNs: BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds),
      nlink: node.type === 'directory' ? 2 + subdirectories : links.get(node)!,
      xattrs: Object.entries(xattrs)
        .map(([name, value]) => [name, Buffer.from(value, 'latin1').toString('hex')] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
      ...(node.device === undefined ? {} : { device: node.device }),
      ...(node.target === undefined ? {} : { target: node.target }),
      ...(node.content === undefined ? {} : { sha256: hashOf(node.content) }),
    };
  });
}

const hashes = new WeakMap<StackEntry, string>();

function hashOf(entry: Extract<StackEntry, { kind: 'file' | 'sparse' }>): string {
  let hash = hashes.get(entry);
  if (hash === undefined) {
    const bytes = entry.kind === 'file' ? contentOf(entry.content) : sparseContentOf(entry);
    hash = createHash('sha256').update(bytes).digest('hex');
    hashes.set(entry, hash);
  }
  return hash;
}
