/** The state of an image as a tree to which the rules of a layer are applied (formats/layer). */
import { AccelError } from '../../base/error.ts';
import type { LayerTree, NewNode, NodeAttributes, NodeKind, Steps, Xattrs } from '../layer/tree.ts';
import type { Ext4Image, InodeContent } from './ext4-image.ts';
import { DEVICE_LIMITS } from './inode.ts';
import { BLOCK_SIZE } from './layout.ts';

/** Longest text of a symlink in bytes: one block with its terminator, and Linux's own limit. */
const SYMLINK_MAX = BLOCK_SIZE - 1;
const NO_CONTENT: InodeContent = {};

/** A view of one layer's work on an {@link Ext4Image}; valid until the next `beginLayer`. Nodes are inode numbers. */
export class Ext4LayerTree implements LayerTree<number> {
  readonly #image: Ext4Image;

  constructor(image: Ext4Image) {
    this.#image = image;
  }

  get root(): number {
    return this.#image.root;
  }

  kind(node: number): NodeKind {
    // Sockets are in no layer: a tar has no type for them, and accel writes none.
    return this.#image.typeOf(node) as NodeKind;
  }

  parent(directory: number): number {
    return this.#image.parentOf(directory);
  }

  child(directory: number, name: string): number | undefined {
    const inode = this.#image.lookup(directory, name);
    return inode === 0 ? undefined : inode;
  }

  isOwn(directory: number, name: string): boolean {
    const { names, layer } = this.#image;
    const entry = names.find(directory, name);
    return entry !== 0 && names.layer(entry) === layer;
  }

  markOwn(directory: number, name: string): void {
    const { names, layer } = this.#image;
    names.setLayer(names.find(directory, name), layer);
  }

  isEmpty(directory: number): boolean {
    return this.#image.names.first(directory) === 0;
  }

  *lowerNames(directory: number): Generator<string> {
    const { names, layer } = this.#image;
    for (let entry = names.first(directory); entry !== 0; ) {
      const next = names.next(entry);
      if (names.layer(entry) !== layer) yield names.text(entry);
      entry = next;
    }
  }

  target(symlink: number): string {
    return this.#image.targetOf(symlink);
  }

  xattrs(node: number): Xattrs {
    return this.#image.xattrsOf(node);
  }

  create(directory: number, name: string, { kind, attributes, target, deviceMajor, deviceMinor }: NewNode): number {
    if (kind === 'symlink') checkSymlink(target);
    if (kind === 'character' || kind === 'block') checkDevice(deviceMajor, deviceMinor);
    const isDevice = kind === 'character' || kind === 'block';
    const content = kind === 'symlink' ? { target } : isDevice ? { deviceMajor, deviceMinor } : NO_CONTENT;
    return this.#image.create(directory, name, { type: kind, attributes, content });
  }

  link(directory: number, name: string, node: number): void {
    this.#image.link(directory, name, node);
  }

  remove(directory: number, name: string): void {
    this.#image.remove(this.#image.names.find(directory, name));
  }

  removeTree(directory: number, name: string): Steps {
    return this.#image.removeSteps(this.#image.names.find(directory, name));
  }

  setAttributes(node: number, attributes: NodeAttributes): void {
    this.#image.setAttributes(node, attributes);
  }

  setXattrs(node: number, xattrs: Xattrs): void {
    this.#image.setXattrs(node, xattrs);
  }
}

function checkSymlink(target: string): void {
  if (target.length >= 1 && target.length <= SYMLINK_MAX) return;
  throw new AccelError(
    target.length === 0 ? 'tar-invalid' : 'limit-exceeded',
    'the target of a symlink has a length that no file system takes',
    {
      expected: `1 to ${SYMLINK_MAX} bytes`,
      found: `${target.length} bytes`,
    },
  );
}

function checkDevice(major: number, minor: number): void {
  if (major <= DEVICE_LIMITS.major && minor <= DEVICE_LIMITS.minor) return;
  throw new AccelError('limit-exceeded', 'a device number is too large for ext4', {
    expected: `at most ${DEVICE_LIMITS.major},${DEVICE_LIMITS.minor}`,
    found: `${major},${minor}`,
  });
}
