/**
 * Flattens layers into one tree in memory, by the same rules as a conversion (formats/layer) but with nothing else in
 * common: no file system, no blocks. The rules themselves are judged by the models and foreign tools of the tests.
 */
import { type AccelError, withPlace } from '../../base/error.ts';
import { printable } from '../../formats/bytes/printable.ts';
import { LayerRules, Unfinished } from '../../formats/layer/rules.ts';
import {
  type EntryHeader,
  IMPLICIT_DIRECTORY,
  type LayerTree,
  type NewNode,
  type NodeAttributes,
  type NodeKind,
  type RuleReport,
  type Steps,
  type Xattrs,
} from '../../formats/layer/tree.ts';
import type { ContentHash } from './content-hash.ts';
import type { SourceAttributes, SourceNode } from './node.ts';
import { NodeTable } from './node-table.ts';
import { SourceNames } from './source-names.ts';

/** An entry, and where in its tar it begins. */
export type PlacedHeader = EntryHeader & { readonly headerOffset: number };

/** Applies the entries of one layer. */
export interface LayerBuilder {
  /**
   * Applies the next entry and answers the inode that it made, if it did: at once, or as the end of steps that the caller does
   * before the next entry. Throws `tar-invalid` for paths that lead out of the
   * image or through files, and what else the rules refuse.
   */
  apply(header: PlacedHeader): number | undefined | Steps<number | undefined>;
  /** Sets size and hash of a file. */
  setContent(file: number, size: number, content: ContentHash | undefined): void;
}

/** A tree that grows layer by layer, the lowest first. */
export class SourceTreeBuilder {
  readonly #tree = new SourceTree();

  /** Starts the next layer; `report` receives what the tree does not hold as an entry says it. */
  nextLayer(report: RuleReport): LayerBuilder {
    this.#tree.layer++;
    const rules = new LayerRules(this.#tree, report);
    const { nodes } = this.#tree;
    return {
      apply(header) {
        try {
          const begun = rules.begin(header);
          return begun instanceof Unfinished ? placedSteps(begun, header) : begun;
        } catch (error) {
          throw placed(error, header);
        }
      },
      setContent(file, size, content) {
        nodes.setSize(file, size);
        if (content !== undefined) nodes.setContent(file, content);
      },
    };
  }

  /** The root of the finished tree, with its links counted. */
  finish(): SourceNode {
    const { root, nodes, names } = this.#tree;
    const pending: number[] = [root];
    nodes.setLinks(root, 2);
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      for (const node of names.nodes(at)) {
        if (nodes.kind(node) !== 'directory') {
          nodes.setLinks(node, nodes.links(node) + 1);
          continue;
        }
        nodes.setLinks(at, nodes.links(at) + 1);
        nodes.setLinks(node, 2);
        pending.push(node);
      }
    }
    return new NodeView(this.#tree, root);
  }
}

class NodeView implements SourceNode {
  readonly id: number;
  readonly #tree: SourceTree;

  constructor(tree: SourceTree, id: number) {
    this.#tree = tree;
    this.id = id;
  }

  get attributes(): SourceAttributes {
    const { nodes } = this.#tree;
    const type = nodes.kind(this.id);
    const [deviceMajor, deviceMinor] = type === 'character' || type === 'block' ? nodes.device(this.id) : [0, 0];
    const content = type === 'file' ? nodes.content(this.id) : undefined;
    return {
      type,
      ...nodes.attributes(this.id),
      size: nodes.size(this.id),
      xattrs: nodes.xattrs(this.id),
      deviceMajor,
      deviceMinor,
      ...(type === 'symlink' ? { target: nodes.target(this.id) } : {}),
      ...(content === undefined ? {} : { content }),
    };
  }

  get names(): string[] {
    return [...this.#tree.names.of(this.id)];
  }

  get links(): number {
    return this.#tree.nodes.links(this.id);
  }

  node(id: number): SourceNode {
    return new NodeView(this.#tree, id);
  }

  child(name: string): SourceNode | undefined {
    const node = this.#tree.names.find(this.id, name);
    return node === 0 ? undefined : new NodeView(this.#tree, node);
  }
}

/** The tree in memory, as the rules see it. */
class SourceTree implements LayerTree<number> {
  readonly nodes = new NodeTable();
  readonly names = new SourceNames();
  readonly root: number;
  /** Number of the layer being applied, from 1 on. */
  layer = 0;

  constructor() {
    this.root = this.nodes.add('directory', IMPLICIT_DIRECTORY);
    this.nodes.setParent(this.root, this.root);
  }

  kind(node: number): NodeKind {
    return this.nodes.kind(node);
  }

  parent(directory: number): number {
    return this.nodes.parent(directory);
  }

  child(directory: number, name: string): number | undefined {
    return this.names.find(directory, name) || undefined;
  }

  isOwn(directory: number, name: string): boolean {
    return this.names.layer(directory, name) === this.layer;
  }

  markOwn(directory: number, name: string): void {
    this.names.setLayer(directory, name, this.layer);
  }

  isEmpty(directory: number): boolean {
    return this.names.count(directory) === 0;
  }

  *lowerNames(directory: number): Generator<string> {
    for (const name of this.names.of(directory)) if (!this.isOwn(directory, name)) yield name;
  }

  target(symlink: number): string {
    return this.nodes.target(symlink);
  }

  xattrs(node: number): Xattrs {
    return this.nodes.xattrs(node);
  }

  create(directory: number, name: string, { kind, attributes, target, deviceMajor, deviceMinor }: NewNode): number {
    const node = this.nodes.add(kind, attributes);
    if (kind === 'directory') this.nodes.setParent(node, directory);
    else if (kind === 'symlink') this.nodes.setTarget(node, target);
    else if (kind === 'character' || kind === 'block') this.nodes.setDevice(node, deviceMajor, deviceMinor);
    this.link(directory, name, node);
    return node;
  }

  link(directory: number, name: string, node: number): void {
    this.names.add(directory, name, node, this.layer);
  }

  remove(directory: number, name: string): void {
    this.names.remove(directory, name);
  }

  /** Takes the name away: nothing leads to what was below it, whose records stay. */
  *removeTree(directory: number, name: string): Steps {
    this.names.remove(directory, name);
    yield;
  }

  setAttributes(node: number, attributes: NodeAttributes): void {
    this.nodes.setAttributes(node, attributes);
  }

  setXattrs(node: number, xattrs: Xattrs): void {
    this.nodes.setXattrs(node, xattrs);
  }
}

function* placedSteps({ steps }: Unfinished<number>, header: PlacedHeader): Steps<number | undefined> {
  try {
    return yield* steps;
  } catch (error) {
    throw placed(error, header);
  }
}

function placed(error: unknown, { name, headerOffset }: PlacedHeader): AccelError {
  return withPlace(error, { path: printable(name), tarOffset: headerOffset });
}
