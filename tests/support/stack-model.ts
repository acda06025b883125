/**
 * What a stack of layers means, worked out from its entries and not from a tar: the rules of the OCI image-spec
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
  /** What the content of a file comes from. */
  content: Extract<StackEntry, { kind: 'file' | 'sparse' }> | undefined;
  target: string | undefined;
  device: readonly [number, number] | undefined;
  readonly children = new Map<string, Node>();
  /** What whiteouts of the current layer took out of this directory, and what stood in its own place before they did. */
  readonly taken = new Map<string, Node>();
  shadow: Node | undefined;

  constructor(type: EntryType, attributes: EntryAttributes) {
    this.type = type;
    this.attributes = attributes;
  }

  /** What a whiteout of the current layer took from under `name`, here or with a whole directory above. */
  takenFrom(name: string): Node | undefined {
    return this.taken.get(name) ?? this.shadow?.children.get(name) ?? this.shadow?.takenFrom(name);
  }
}

/** How strict the model is. */
export interface ModelOptions {
  /**
   * Refuse also what has a meaning only where whiteouts stand first: paths through symlinks, and entries below what a
   * whiteout of their layer turns from a file into nothing. The image-spec asks writers to put whiteouts first.
   */
  readonly anyOrder: boolean;
}

/** What a stack means. */
export interface StackMeaning {
  /** The trees of the first layer, the first two, and so on to all of them, or to the last one before a refusal. */
  readonly trees: readonly TreeEntry[][];
  /** Why there is no image, if there is none. */
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

/** A stack without the entries that are refused, layer by layer; `finish` makes a layer out of the files that stand. */
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
      // What a refused entry did before it was refused (made parents) counts no more once it is gone: so once again.
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
  readonly #touched: Node[] = [];

  constructor(root: Node, layer: StackLayer, number: number, { anyOrder }: ModelOptions) {
    this.#root = root;
    this.#layer = layer;
    this.#number = number;
    this.#anyOrder = anyOrder;
  }

  /** Applies what can be applied; answers what is refused, in the order in which it was met. */
  apply(): Refusal[] {
    const refused: Refusal[] = [];
    const links = new Set(
      this.#layer.filter(({ kind }) => kind === 'symlink' || kind === 'link').map((entry) => entry.path),
    );
    for (const entry of this.#layer) this.#try(entry, refused, () => this.#whiteout(entry, links));
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

  #whiteout(entry: StackEntry, links: ReadonlySet<string>): void {
    if (entry.kind !== 'whiteout' && entry.kind !== 'opaque') return;
    const parts = partsOf(entry.path);
    // A whiteout behind a link of its own layer: is it meant for what the link hides, or for where it leads?
    const throughLink = parts.some((_, i) => links.has(parts.slice(0, i + 1).join('/')) && i + 1 < parts.length);
    const ownLink = entry.kind === 'opaque' && links.has(entry.path);
    if (this.#anyOrder && (throughLink || ownLink)) throw new Broken('a whiteout behind a link of its layer');
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
      this.#root.attributes = added(this.#root.attributes, entry.attributes);
      return;
    }
    const parent = this.#find(parts, true)!;
    const existing = parent.children.get(name);
    if (entry.kind === 'link') this.#link(parent, name, entry.target);
    else if (entry.kind === 'directory' && existing?.type === 'directory')
      existing.attributes = added(existing.attributes, entry.attributes);
    else this.#put(parent, name, makeNode(entry));
  }

  #link(parent: Node, name: string, target: string): void {
    const parts = partsOf(target);
    const last = parts.pop();
    const holder = this.#find(parts, false);
    const node = last === undefined ? undefined : holder?.children.get(last);
    if (node === undefined) throw new Broken('a hard link leads to what is there');
    if (node.type === 'directory') throw new Broken('a hard link leads to a file');
    const existing = parent.children.get(name);
    if (existing === node) return;
    if (existing !== undefined && within(existing, holder!)) throw new Broken('a hard link does not replace its way');
    parent.children.set(name, node);
  }

  #put(parent: Node, name: string, node: Node): void {
    if (node.type === 'directory') {
      node.shadow = parent.takenFrom(name);
      this.#touched.push(node);
    }
    parent.children.set(name, node);
  }

  /** The directory that `parts` lead to; with `create` the missing ones are made, without it undefined where one is. */
  #find(parts: readonly string[], create: boolean): Node | undefined {
    let trail = [this.#root];
    let symlinks = 0;
    const ahead = [...parts];
    while (ahead.length > 0) {
      const part = ahead.shift()!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const here = trail.at(-1)!;
      let next = here.children.get(part);
      if (next === undefined) {
        if (!create) return undefined;
        if (part.length > NAME_MAX) throw new Broken('a name has at most 255 bytes');
        const before = here.takenFrom(part);
        if (this.#anyOrder && before !== undefined && before.type !== 'directory')
          throw new Broken('a directory where a whiteout of the layer takes a file');
        next = new Node('directory', UNNAMED);
        this.#put(here, part, next);
      }
      if (next.target !== undefined) {
        if (this.#anyOrder) throw new Broken('a path through a symlink');
        symlinks++;
        if (symlinks > MAX_SYMLINKS) throw new Broken('symlinks do not go in circles');
        if (next.target.startsWith('/')) trail = [this.#root];
        ahead.unshift(...next.target.split('/'));
      } else if (next.type === 'directory') trail.push(next);
      else if (create) throw new Broken('a path leads through directories');
      else return undefined;
    }
    return trail.at(-1);
  }
}

function within(top: Node, wanted: Node): boolean {
  return top === wanted || [...top.children.values()].some((child) => within(child, wanted));
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}

/** Attributes as Linux and ext4 can keep them: no xattrs of other systems, times of 1901 to 2446. */
function kept(attributes: EntryAttributes): EntryAttributes {
  const xattrs = Object.entries(attributes.xattrs).filter(([name]) => /^(user|trusted|security|system)\../.test(name));
  const all = { ...attributes, xattrs: Object.fromEntries(xattrs) };
  if (attributes.seconds < MIN_SECONDS) return { ...all, seconds: MIN_SECONDS, nanoseconds: 0 };
  if (attributes.seconds > MAX_SECONDS) return { ...all, seconds: MAX_SECONDS, nanoseconds: 999_999_999 };
  return all;
}

/** The attributes of a directory that has an entry of its own again: extended ones add to those that it has (the goldens). */
function added(standing: EntryAttributes, attributes: EntryAttributes): EntryAttributes {
  const own = kept(attributes);
  return { ...own, xattrs: { ...standing.xattrs, ...own.xattrs } };
}

function makeNode(entry: Exclude<StackEntry, { kind: 'link' | 'whiteout' | 'opaque' | 'aufs' }>): Node {
  const node = new Node(entry.kind === 'sparse' ? 'file' : entry.kind, kept(entry.attributes));
  if (entry.kind === 'symlink') {
    node.attributes = { ...node.attributes, mode: 0o777 };
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
