/**
 * Flattens layers into one tree in memory, by the same rules as a conversion (formats/layer) but with nothing else in
 * common: no file system, no blocks. The rules themselves are judged by the models and foreign tools of the tests.
 */
import { withPlace } from '../../base/error.ts';
import { printable } from '../../formats/bytes/printable.ts';
import { LayerRules } from '../../formats/layer/rules.ts';
import {
  IMPLICIT_DIRECTORY,
  type LayerTree,
  type NewNode,
  type NodeAttributes,
  type NodeKind,
  type RuleReport,
  type Xattrs,
} from '../../formats/layer/tree.ts';
import type { LayerEntry, SourceAttributes, SourceNode } from './node.ts';

const NO_XATTRS: Xattrs = new Map();

/** A node while layers are applied to it. */
class Node implements SourceNode {
  attributes: SourceAttributes;
  links = 0;
  /** The directory that holds this one; undefined for everything else. */
  readonly parent: Node | undefined;
  readonly children: Map<string, Node> | undefined;
  /** Names in this directory that the layer of that number made. */
  own: { readonly layer: number; readonly names: Set<string> } | undefined;

  constructor(attributes: SourceAttributes, parent: Node | undefined) {
    this.attributes = attributes;
    const isDirectory = attributes.type === 'directory';
    this.parent = isDirectory ? (parent ?? this) : undefined;
    this.children = isDirectory ? new Map() : undefined;
  }
}

/** A tree that grows layer by layer, the lowest first. */
export class SourceTreeBuilder {
  readonly #tree = new SourceTree();

  /**
   * Applies the entries of the next layer. Throws `tar-invalid` for paths that lead out of the image or through files, and
   * what else the rules refuse; `report` receives what the tree does not hold as an entry says it.
   */
  apply(entries: readonly LayerEntry[], report: RuleReport): void {
    this.#tree.layer++;
    const rules = new LayerRules(this.#tree, report);
    for (const { header, size, content } of entries) {
      try {
        const node = rules.apply(header);
        if (node !== undefined && header.type === 'file')
          node.attributes = { ...node.attributes, size, ...(content === undefined ? {} : { content }) };
      } catch (error) {
        throw withPlace(error, { path: printable(header.name), tarOffset: header.headerOffset });
      }
    }
  }

  /** The root of the finished tree, with its links counted. */
  finish(): SourceNode {
    const { root } = this.#tree;
    const pending: Node[] = [root];
    root.links = 2;
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      for (const node of at.children!.values()) {
        if (node.children === undefined) {
          node.links++;
          continue;
        }
        at.links++;
        node.links = 2;
        pending.push(node);
      }
    }
    return root;
  }
}

/** The tree in memory, as the rules see it. */
class SourceTree implements LayerTree<Node> {
  readonly root = new Node(
    { ...IMPLICIT_DIRECTORY, type: 'directory', size: 0, xattrs: NO_XATTRS, deviceMajor: 0, deviceMinor: 0 },
    undefined,
  );
  /** Number of the layer being applied. */
  layer = -1;

  kind(node: Node): NodeKind {
    return node.attributes.type;
  }

  parent(directory: Node): Node {
    return directory.parent!;
  }

  child(directory: Node, name: string): Node | undefined {
    return directory.children!.get(name);
  }

  isOwn({ own }: Node, name: string): boolean {
    return own?.layer === this.layer && own.names.has(name);
  }

  markOwn(directory: Node, name: string): void {
    if (directory.own?.layer !== this.layer) directory.own = { layer: this.layer, names: new Set() };
    directory.own.names.add(name);
  }

  isEmpty(directory: Node): boolean {
    return directory.children!.size === 0;
  }

  lowerNames(directory: Node): string[] {
    return [...directory.children!.keys()].filter((name) => !this.isOwn(directory, name));
  }

  target(symlink: Node): string {
    return symlink.attributes.target!;
  }

  xattrs(node: Node): Xattrs {
    return node.attributes.xattrs;
  }

  create(directory: Node, name: string, { kind, attributes, target, deviceMajor, deviceMinor }: NewNode): Node {
    const node = new Node(
      {
        ...attributes,
        type: kind,
        size: kind === 'symlink' ? target.length : 0,
        xattrs: NO_XATTRS,
        deviceMajor,
        deviceMinor,
        ...(kind === 'symlink' ? { target } : {}),
      },
      directory,
    );
    this.link(directory, name, node);
    return node;
  }

  link(directory: Node, name: string, node: Node): void {
    directory.children!.set(name, node);
    this.markOwn(directory, name);
  }

  remove(directory: Node, name: string): void {
    directory.children!.delete(name);
    if (directory.own?.layer === this.layer) directory.own.names.delete(name);
  }

  setAttributes(node: Node, attributes: NodeAttributes): void {
    node.attributes = { ...node.attributes, ...attributes };
  }

  setXattrs(node: Node, xattrs: Xattrs): void {
    node.attributes = { ...node.attributes, xattrs };
  }
}
