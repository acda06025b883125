/**
 * The file system of an image while its layers are applied: one state that lives across the layers, changed in memory by
 * the operations below. `commit` (commit.ts) writes what a layer changed. How a tar maps onto these operations is
 * apply-tar.ts; where blocks lie is allocator.ts.
 */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import { Allocator, type MetadataBlock } from './allocator.ts';
import { commitLayer } from './commit.ts';
import { appendExtent } from './extents.ts';
import { DEFAULT_VIRTUAL_SIZE, geometryOf } from './geometry.ts';
import { type Attributes, type Directory, Inode } from './inode.ts';
import { FIRST_INODE, type InodeType, LINK_MAX, NAME_MAX, ROOT_INODE } from './layout.ts';
import { FILE_SYSTEM_UUID } from './superblock.ts';
import { encodeXattrs } from './xattr.ts';

/** Bounds of an image; see docs/cli.md for the options behind them. */
export interface Ext4ImageOptions {
  /** Bytes of the block device, a multiple of 128 MiB; omitted: 64 GiB. */
  readonly virtualSize?: number;
  /** Files and directories that the image may hold. */
  readonly maxFiles?: number;
}

/** Default bound on files: what the memory of a CI runner holds with ease. */
export const DEFAULT_MAX_FILES = 1_000_000;

/** Attributes of the root until an entry says otherwise, and of directories that no entry names. */
export const IMPLICIT_DIRECTORY: Attributes = { mode: 0o755, uid: 0, gid: 0, mtime: { seconds: 0, nanoseconds: 0 } };

/** Name of the directory that e2fsck wants to find in the root. */
export const LOST_AND_FOUND = 'lost+found';
const LOST_AND_FOUND_ATTRIBUTES: Attributes = { ...IMPLICIT_DIRECTORY, mode: 0o700 };

/** The root and `/lost+found`. */
const BUILT_IN_FILES = 2;

/** Layer number of what the empty file system holds. */
export const EMPTY_LAYER = -1;

/** What a new inode needs beside its attributes, by type. */
export interface InodeContent {
  /** Text of a symlink, Latin-1, 1 … 4095 bytes. */
  readonly target?: string;
  readonly deviceMajor?: number;
  readonly deviceMinor?: number;
}

/** A range of blocks. */
export interface BlockRange {
  readonly first: number;
  readonly count: number;
}

/** What changed since the last commit; read and cleared by commit.ts. */
export interface Changes {
  readonly inodes: Set<Inode>;
  readonly directories: Set<Inode>;
  readonly xattrs: Set<Inode>;
  /** Inode numbers whose bytes are to be cleared. */
  readonly released: Set<number>;
}

/** One image's file system. Not safe for concurrent use: layers apply one after another. */
export class Ext4Image {
  readonly allocator: Allocator;
  root: Inode;
  /** Inodes by number; freed ones are undefined. */
  readonly inodes: (Inode | undefined)[] = [];
  readonly changes: Changes = { inodes: new Set(), directories: new Set(), xattrs: new Set(), released: new Set() };
  readonly #maxFiles: number;
  #files = 0;
  #layer = EMPTY_LAYER;
  #layerStart = 0;
  #discarded: BlockRange[] = [];

  constructor(options: Ext4ImageOptions = {}) {
    this.#maxFiles = options.maxFiles ?? DEFAULT_MAX_FILES;
    this.allocator = new Allocator(
      geometryOf(options.virtualSize ?? DEFAULT_VIRTUAL_SIZE),
      FILE_SYSTEM_UUID,
      FIRST_INODE,
    );
    this.root = new Inode(ROOT_INODE, 'directory', EMPTY_LAYER, IMPLICIT_DIRECTORY, undefined);
    this.#register(this.root);
    this.#createLostAndFound();
  }

  /**
   * Takes over the tree of a file system that was committed before, with the allocator restored to it already. All of
   * it counts as from below the next layer.
   */
  restore(inodes: Iterable<Inode>): void {
    this.inodes.length = 0;
    this.#files = 0;
    for (const inode of inodes) {
      this.inodes[inode.number] = inode;
      this.#files++;
    }
    const root = this.inodes[ROOT_INODE];
    if (root?.directory === undefined) throw new AccelError('ext4-invalid', 'the file system has no root directory');
    this.root = root;
    for (const set of Object.values(this.changes)) set.clear();
  }

  /** Number of the layer being applied, 0 = lowest. */
  get layer(): number {
    return this.#layer;
  }

  /** Files, directories and everything else with an inode, without the root and `/lost+found`. */
  get files(): number {
    return this.#files - BUILT_IN_FILES;
  }

  /** Starts the next layer: what is made from now on belongs to it. */
  beginLayer(): void {
    this.#layer++;
    this.#layerStart = this.allocator.state.nextBlock;
  }

  /** Makes an inode named `name` in `parent`, which must not have that name. Checks name, size and count limits. */
  create(parent: Inode, name: string, type: InodeType, attributes: Attributes, content: InodeContent = {}): Inode {
    if (this.files >= this.#maxFiles) {
      throw new AccelError('limit-exceeded', 'the image holds too many files', {
        expected: `at most ${this.#maxFiles} files and directories`,
        hint: advise`Raise the bound with ${option('maxFiles')}.`,
      });
    }
    checkName(name);
    const inode = new Inode(this.allocator.allocateInode(), type, this.#layer, attributes, parent);
    if (content.target !== undefined) {
      inode.target = content.target;
      inode.size = content.target.length;
    }
    inode.deviceMajor = content.deviceMajor ?? 0;
    inode.deviceMinor = content.deviceMinor ?? 0;
    this.#register(inode);
    this.#addName(parent, name, inode);
    return inode;
  }

  /** Gives an inode that is no directory one more name. AccelError `limit-exceeded` past 65,000. */
  link(parent: Inode, name: string, inode: Inode): void {
    checkName(name);
    if (inode.names >= LINK_MAX) {
      throw new AccelError('limit-exceeded', 'a file has too many hard links', {
        expected: `at most ${LINK_MAX}`,
        found: inode.names + 1,
      });
    }
    this.#addName(parent, name, inode);
    this.changes.inodes.add(inode);
  }

  /** Removes a name and, of a directory, everything below it. The name must exist. */
  remove(parent: Inode, name: string): void {
    // An explicit stack: the depth of a tree is the image's choice, not ours.
    const stack: { readonly inode: Inode; readonly entered: boolean }[] = [];
    const drop = (from: Inode, child: string): void => {
      const inode = this.#dropName(from, child);
      // With its last name an inode comes here, and so once, however many of its names the tree holds.
      if (inode.names === 0) stack.push({ inode, entered: false });
    };
    drop(parent, name);
    for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
      const { directory } = top.inode;
      if (directory === undefined || top.entered) {
        this.#release(top.inode);
        continue;
      }
      stack.push({ inode: top.inode, entered: true });
      for (const child of [...directory.children.keys()]) drop(top.inode, child);
    }
  }

  /** Sets what differs of mode, owner and time. */
  setAttributes(inode: Inode, { mode, uid, gid, mtime }: Attributes): void {
    const same =
      inode.mode === mode &&
      inode.uid === uid &&
      inode.gid === gid &&
      inode.mtimeSeconds === mtime.seconds &&
      inode.mtimeNanoseconds === mtime.nanoseconds;
    if (same) return;
    inode.mode = mode;
    inode.uid = uid;
    inode.gid = gid;
    inode.mtimeSeconds = mtime.seconds;
    inode.mtimeNanoseconds = mtime.nanoseconds;
    this.changes.inodes.add(inode);
  }

  /** Replaces the extended attributes; names with a namespace that Linux knows. Throws as {@link encodeXattrs} does. */
  setXattrs(inode: Inode, xattrs: ReadonlyMap<string, Uint8Array>): void {
    if (xattrs.size === 0 && inode.xattrs === undefined) return;
    // Encoded here and not at commit, so that what does not fit is an error of the entry that brings it.
    inode.encodedXattrs = encodeXattrs(xattrs);
    inode.xattrs = xattrs.size === 0 ? undefined : xattrs;
    this.changes.inodes.add(inode);
    this.changes.xattrs.add(inode);
  }

  /** Allocates `count` blocks of content from block `logical` on, contiguous; the first one's number on the device. */
  allocate(inode: Inode, logical: number, count: number): number {
    const physical = this.allocator.allocateBlocks(count);
    appendExtent(inode.extents, logical, physical, count);
    this.changes.inodes.add(inode);
    return physical;
  }

  /** Blocks that were allocated and given back since {@link beginLayer}: what was written there belongs to no file. */
  get discarded(): readonly BlockRange[] {
    return this.#discarded;
  }

  /**
   * The metadata blocks that differ from the last commit, each once, ascending; file data went to the sink before.
   * Always holds the superblock, so that no layer is without a block.
   */
  *commit(): Generator<MetadataBlock> {
    // A layer may have deleted or replaced a lower image's own directory of that name.
    if (!this.root.directory!.children.has(LOST_AND_FOUND)) this.#createLostAndFound();
    yield* commitLayer(this);
    this.#discarded = [];
  }

  /** Gives blocks back; those of this layer are also discarded. */
  release(first: number, count: number): void {
    this.allocator.freeBlockRange(first, count);
    if (first >= this.#layerStart) this.#discarded.push({ first, count });
  }

  #register(inode: Inode): void {
    this.inodes[inode.number] = inode;
    this.#files++;
    this.changes.inodes.add(inode);
    if (inode.directory === undefined) return;
    this.changes.directories.add(inode);
    this.allocator.countDirectory(inode.number, 1);
  }

  #createLostAndFound(): void {
    const inode = new Inode(
      this.allocator.allocateInode(),
      'directory',
      EMPTY_LAYER,
      LOST_AND_FOUND_ATTRIBUTES,
      this.root,
    );
    this.#register(inode);
    this.#addName(this.root, LOST_AND_FOUND, inode);
  }

  #addName(parent: Inode, name: string, inode: Inode): void {
    const directory = parent.directory!;
    directory.children.set(name, { inode, layer: this.#layer });
    inode.names++;
    if (inode.directory !== undefined) {
      directory.subdirectories++;
      this.changes.inodes.add(parent);
    }
    this.#nameChanged(parent, directory, name);
  }

  #dropName(parent: Inode, name: string): Inode {
    const directory = parent.directory!;
    const { inode } = directory.children.get(name)!;
    directory.children.delete(name);
    inode.names--;
    this.changes.inodes.add(inode);
    if (inode.directory !== undefined) {
      directory.subdirectories--;
      this.changes.inodes.add(parent);
    }
    this.#nameChanged(parent, directory, name);
    return inode;
  }

  #nameChanged(parent: Inode, directory: Directory, name: string): void {
    this.changes.directories.add(parent);
    // Before its first commit a directory has no blocks to keep, and need not remember which names moved.
    if (directory.layout === undefined) return;
    directory.changed ??= new Set();
    directory.changed.add(name);
  }

  #release(inode: Inode): void {
    for (const extent of inode.extents) this.release(extent.physical, extent.count);
    for (const block of inode.extentBlocks) this.release(block, 1);
    if (inode.xattrBlock !== 0) this.release(inode.xattrBlock, 1);
    if (inode.directory !== undefined) this.allocator.countDirectory(inode.number, -1);
    this.allocator.freeInode(inode.number);
    this.inodes[inode.number] = undefined;
    this.#files--;
    for (const set of [this.changes.inodes, this.changes.directories, this.changes.xattrs]) set.delete(inode);
    this.changes.released.add(inode.number);
  }
}

function checkName(name: string): void {
  if (name.length > NAME_MAX) {
    throw new AccelError('limit-exceeded', 'a file name is too long for ext4', {
      expected: `at most ${NAME_MAX} bytes`,
      found: `${name.length} bytes`,
    });
  }
}
