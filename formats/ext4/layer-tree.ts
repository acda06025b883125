/** The state of an image as a tree to which the rules of a layer are applied (formats/layer). */
import { AccelError } from '../../base/error.ts';
import type { LayerTree, NewNode, NodeAttributes, NodeKind, Xattrs } from '../layer/tree.ts';
import type { Ext4Image } from './image.ts';
import { DEVICE_LIMITS, type Inode } from './inode.ts';
import { BLOCK_SIZE } from './layout.ts';

/** Longest text of a symlink in bytes: one block with its terminator, and Linux's own limit. */
const SYMLINK_MAX = BLOCK_SIZE - 1;
const NO_XATTRS: Xattrs = new Map();

/** A view of one layer's work on an {@link Ext4Image}; valid until the next `beginLayer`. */
export class Ext4LayerTree implements LayerTree<Inode> {
  readonly #image: Ext4Image;

  constructor(image: Ext4Image) {
    this.#image = image;
  }

  get root(): Inode {
    return this.#image.root;
  }

  kind(node: Inode): NodeKind {
    // Sockets are in no layer: a tar has no type for them, and accel writes none.
    return node.type as NodeKind;
  }

  parent(directory: Inode): Inode {
    return directory.directory!.parent;
  }

  child(directory: Inode, name: string): Inode | undefined {
    return directory.directory!.children.get(name)?.inode;
  }

  isOwn(directory: Inode, name: string): boolean {
    return directory.directory!.children.get(name)?.layer === this.#image.layer;
  }

  markOwn(directory: Inode, name: string): void {
    const { children } = directory.directory!;
    children.set(name, { inode: children.get(name)!.inode, layer: this.#image.layer });
  }

  isEmpty(directory: Inode): boolean {
    return directory.directory!.children.size === 0;
  }

  lowerNames(directory: Inode): string[] {
    const names: string[] = [];
    for (const [name, { layer }] of directory.directory!.children) if (layer !== this.#image.layer) names.push(name);
    return names;
  }

  target(symlink: Inode): string {
    return symlink.target!;
  }

  xattrs(node: Inode): Xattrs {
    return node.xattrs ?? NO_XATTRS;
  }

  create(directory: Inode, name: string, { kind, attributes, target, deviceMajor, deviceMinor }: NewNode): Inode {
    if (kind === 'symlink') checkSymlink(target);
    if (kind === 'character' || kind === 'block') checkDevice(deviceMajor, deviceMinor);
    const content = { ...(kind === 'symlink' ? { target } : {}), deviceMajor, deviceMinor };
    return this.#image.create(directory, name, kind, attributes, content);
  }

  link(directory: Inode, name: string, node: Inode): void {
    this.#image.link(directory, name, node);
  }

  remove(directory: Inode, name: string): void {
    this.#image.remove(directory, name);
  }

  setAttributes(node: Inode, attributes: NodeAttributes): void {
    this.#image.setAttributes(node, attributes);
  }

  setXattrs(node: Inode, xattrs: Xattrs): void {
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
