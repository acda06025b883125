/**
 * The file system of an image while its layers are applied: one state that lives across the layers, changed in memory by
 * the operations below. `commit` (commit.ts) writes what a layer changed. The mapping of a tar onto these operations is
 * apply-tar.ts; where blocks lie is allocator.ts; how the state is stored is the folder state/.
 */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import type { Allocator, MetadataBlock } from './allocator.ts';
import { type CommitStep, LayerCommit } from './commit.ts';
import { leafOf } from './directory-index.ts';
import { hashName } from './dirhash.ts';
import type { Extent } from './extents.ts';
import { DEFAULT_VIRTUAL_SIZE, geometryOf } from './geometry.ts';
import { type Attributes, encodedTime } from './inode.ts';
import { type InodeType, LINK_MAX, NAME_MAX, ROOT_INODE } from './layout.ts';
import { FIELD, recordAt } from './state/inode-table.ts';
import { FIXED_KEY, type HashKey } from './state/keyed-hash.ts';
import { MemoryBudget } from './state/memory-budget.ts';
import type { EntryRef, NameTable } from './state/name-table.ts';
import { type BlockRange, TreeState } from './state/tree-state.ts';
import { HASH_SEED } from './superblock.ts';

/** Bounds of an image; docs/cli.md has the options that set them. */
export interface Ext4ImageOptions {
  /** Bytes of the block device, a multiple of 128 MiB; omitted: 64 GiB. */
  readonly virtualSize?: number;
  /** Files and directories that the image may hold. */
  readonly maxFiles?: number;
  /** Bounds the memory of names and attributes; may be shared by several images. Omitted: no bound. */
  readonly memory?: MemoryBudget;
  /** Key of the hash table of names, random where images come from strangers. No bytes depend on it. */
  readonly hashKey?: HashKey;
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

/** Names that are removed in a step. */
const NAMES_PER_STEP = 256;

/** The content that a new inode starts with, by type. */
export interface InodeContent {
  /** Text of a symlink, Latin-1, 1 … 4095 bytes. */
  readonly target?: string;
  readonly deviceMajor?: number;
  readonly deviceMinor?: number;
}

/** An inode to be made. */
export interface NewInode {
  readonly type: InodeType;
  readonly attributes: Attributes;
  readonly content?: InodeContent;
}

/**
 * One image's file system. Inodes are numbers, names of directories are references ({@link EntryRef}); 0 is none of
 * either. Not safe for concurrent use: layers apply one after another.
 */
export class Ext4Image {
  /** The root directory. */
  readonly root: number = ROOT_INODE;
  readonly #maxFiles: number;
  #state: TreeState;
  #files = 0;
  #layer = EMPTY_LAYER;
  #layerStart = 0;
  #discarded: BlockRange[] = [];

  constructor(options: Ext4ImageOptions = {}) {
    this.#maxFiles = options.maxFiles ?? DEFAULT_MAX_FILES;
    const geometry = geometryOf(options.virtualSize ?? DEFAULT_VIRTUAL_SIZE);
    this.#state = new TreeState(geometry, options.memory ?? new MemoryBudget(), options.hashKey ?? FIXED_KEY);
    this.#register(ROOT_INODE, 'directory', IMPLICIT_DIRECTORY, ROOT_INODE);
    this.#createLostAndFound();
  }

  /** Takes over a state of `files` inodes that was committed before. All of it counts as from below the next layer. */
  restore(state: TreeState, files: number): void {
    this.#state = state;
    this.#files = files;
    state.clearChanges();
  }

  /** The stores behind the operations. */
  get state(): TreeState {
    return this.#state;
  }

  /** Hands out blocks and inode numbers. */
  get allocator(): Allocator {
    return this.#state.allocator;
  }

  /** The names of all directories. */
  get names(): NameTable {
    return this.#state.names;
  }

  /** Number of the layer being applied, 0 = lowest. */
  get layer(): number {
    return this.#layer;
  }

  /** Files, directories and everything else with an inode, without the root and `/lost+found`. */
  get files(): number {
    return this.#files - BUILT_IN_FILES;
  }

  /** Blocks that were allocated and given back since {@link beginLayer}: what was written there belongs to no file. */
  get discarded(): readonly BlockRange[] {
    return this.#discarded;
  }

  /** Starts the next layer: what is made from now on belongs to it. */
  beginLayer(): void {
    this.#layer++;
    this.#layerStart = this.allocator.state.nextBlock;
  }

  /** The inode that a directory has under a name, 0 if it has none. */
  lookup(directory: number, name: string): number {
    const ref = this.names.find(directory, name);
    return ref === 0 ? 0 : this.names.inode(ref);
  }

  /** The kind of file that an inode is. */
  typeOf(inode: number): InodeType {
    return this.#state.inodes.type(inode);
  }

  /** Whether an inode is a directory. */
  isDirectory(inode: number): boolean {
    return this.#state.inodes.isDirectory(inode);
  }

  /** The parent of a directory; the root is its own. */
  parentOf(directory: number): number {
    return this.#state.inodes.get(directory, FIELD.payload);
  }

  /** Number of the layer that made an inode, -1 for the empty file system. */
  layerOf(inode: number): number {
    return this.#state.inodes.layer(inode);
  }

  /** Bytes of content. */
  sizeOf(inode: number): number {
    return this.#state.inodes.size(inode);
  }

  /** Text of a symlink, Latin-1. */
  targetOf(inode: number): string {
    return Buffer.from(this.#state.target(inode)).toString('latin1');
  }

  /** Extended attributes by full name. */
  xattrsOf(inode: number): ReadonlyMap<string, Uint8Array> {
    return this.#state.xattrs.get(this.#state.inodes.get(inode, FIELD.xattrs));
  }

  /** Where the content of an inode lies, ascending. */
  extentsOf(inode: number): Extent[] {
    return this.#state.extents.of(inode, FIELD.firstExtent);
  }

  /** Makes an inode named `name` in `parent`, which must not have that name. Checks name, size and count limits. */
  create(parent: number, name: string, { type, attributes, content }: NewInode): number {
    if (this.files >= this.#maxFiles) {
      throw new AccelError('limit-exceeded', 'the image holds too many files', {
        expected: `at most ${this.#maxFiles} files and directories`,
        hint: advise`Raise the bound with ${option('maxFiles')}.`,
      });
    }
    checkName(name);
    const { inodes, texts } = this.#state;
    const inode = this.allocator.allocateInode();
    this.#register(inode, type, attributes, parent);
    if (content?.target !== undefined) {
      inodes.set(inode, FIELD.payload, texts.add(content.target));
      inodes.setSize(inode, content.target.length);
    } else if (type === 'character' || type === 'block') {
      inodes.set(inode, FIELD.payload, ((content?.deviceMajor ?? 0) << 20) | (content?.deviceMinor ?? 0));
    }
    this.#addName(parent, name, inode);
    return inode;
  }

  /** Gives an inode that is no directory one more name. AccelError `limit-exceeded` past 65,000. */
  link(parent: number, name: string, inode: number): void {
    checkName(name);
    const links = this.#state.inodes.get(inode, FIELD.names);
    if (links >= LINK_MAX) {
      throw new AccelError('limit-exceeded', 'a file has too many hard links', {
        expected: `at most ${LINK_MAX}`,
        found: links + 1,
      });
    }
    this.#addName(parent, name, inode);
    this.#state.changes.inodes.add(inode);
  }

  /** Removes a name and, of a directory, everything below it. */
  remove(entry: EntryRef): void {
    for (const _ of this.removeSteps(entry));
  }

  /** As {@link remove}, with an undefined wherever the caller may let others work: no step takes long. */
  *removeSteps(entry: EntryRef): Generator<undefined, void> {
    const { names } = this.#state;
    let dropped = 0;
    // An explicit stack: the depth of a tree is the image's choice, not ours. A directory waits on it for its content.
    const stack: number[] = [];
    const drop = (ref: EntryRef): void => {
      const inode = this.#dropName(ref);
      // With its last name an inode comes here, and so once, however many of its names the tree holds.
      if (this.#state.inodes.get(inode, FIELD.names) === 0) stack.push(inode);
    };
    drop(entry);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const child = this.isDirectory(top) ? names.first(top) : 0;
      if (child !== 0) {
        if (++dropped % NAMES_PER_STEP === 0) yield;
        drop(child);
        continue;
      }
      stack.pop();
      this.#release(top);
    }
  }

  /** Sets what differs of mode, owner and time. */
  setAttributes(inode: number, attributes: Attributes): void {
    const { inodes, changes } = this.#state;
    const { seconds, extra } = encodedTime(attributes.mtime);
    const same =
      (inodes.mode(inode) & 0o7777) === attributes.mode &&
      inodes.get(inode, FIELD.uid) === attributes.uid &&
      inodes.get(inode, FIELD.gid) === attributes.gid &&
      inodes.get(inode, FIELD.mtime) === seconds &&
      inodes.get(inode, FIELD.mtimeExtra) === extra;
    if (same) return;
    this.#writeAttributes(inode, attributes);
    changes.inodes.add(inode);
  }

  /** Sets the size of a file's content. */
  setSize(inode: number, size: number): void {
    this.#state.inodes.setSize(inode, size);
  }

  /** Replaces the extended attributes; names with a namespace that Linux knows. Throws as `encodeXattrs` does. */
  setXattrs(inode: number, xattrs: ReadonlyMap<string, Uint8Array>): void {
    const { inodes, changes } = this.#state;
    const before = inodes.get(inode, FIELD.xattrs);
    if (xattrs.size === 0 && before === 0) return;
    // Encoded here and not at commit, so that what does not fit is an error of the entry that brings it.
    inodes.set(inode, FIELD.xattrs, this.#state.xattrs.add(xattrs));
    this.#state.xattrs.release(before);
    changes.inodes.add(inode);
    changes.xattrs.add(inode);
  }

  /** Allocates `count` blocks of content from block `logical` on, contiguous; the first one's number on the device. */
  allocate(inode: number, logical: number, count: number): number {
    return this.#state.allocate(inode, logical, count);
  }

  /**
   * The metadata blocks that differ from the last commit, each once, ascending; file data went to the sink before.
   * Always holds the superblock, so that no layer is without a block.
   */
  *commit(): Generator<MetadataBlock> {
    for (const step of this.commitSteps())
      if (step !== undefined) yield { block: step.block, bytes: step.bytes.slice() };
  }

  /**
   * As {@link commit}, with an undefined wherever the caller may let others work: no step takes long. The bytes of a block
   * are valid until the next step.
   */
  *commitSteps(): Generator<CommitStep> {
    // A layer may have deleted or replaced a lower image's own directory of that name.
    if (this.names.find(this.root, LOST_AND_FOUND) === 0) this.#createLostAndFound();
    yield* new LayerCommit(this.#state, (first, count) => this.#giveBack(first, count)).steps();
    this.#discarded = [];
  }

  /** Gives blocks back; those of this layer are also discarded. */
  #giveBack(first: number, count: number): void {
    this.allocator.freeBlockRange(first, count);
    if (first < this.#layerStart) return;
    const last = this.#discarded.at(-1);
    const joins = last !== undefined && last.first + last.count === first;
    if (joins) this.#discarded[this.#discarded.length - 1] = { first: last.first, count: last.count + count };
    else this.#discarded.push({ first, count });
  }

  #register(inode: number, type: InodeType, attributes: Attributes, parent: number): void {
    const { inodes, changes } = this.#state;
    inodes.add(inode, type, this.#layer);
    this.#writeAttributes(inode, attributes);
    this.#files++;
    changes.inodes.add(inode);
    if (type !== 'directory') return;
    inodes.set(inode, FIELD.payload, parent);
    changes.directories.add(inode);
    this.allocator.countDirectory(inode, 1);
  }

  #writeAttributes(inode: number, { mode, uid, gid, mtime }: Attributes): void {
    const page = this.#state.inodes.page(inode);
    const at = recordAt(inode);
    const { seconds, extra } = encodedTime(mtime);
    page[at + FIELD.mode] = (page[at + FIELD.mode]! & ~0o7777) | mode;
    page[at + FIELD.uid] = uid;
    page[at + FIELD.gid] = gid;
    page[at + FIELD.mtime] = seconds;
    page[at + FIELD.mtimeExtra] = extra;
  }

  #createLostAndFound(): void {
    const inode = this.allocator.allocateInode();
    this.#register(inode, 'directory', LOST_AND_FOUND_ATTRIBUTES, this.root);
    this.#addName(this.root, LOST_AND_FOUND, inode);
  }

  #addName(parent: number, name: string, inode: number): void {
    const ref = this.names.add(parent, name, inode, this.#layer);
    this.#count(parent, inode, 1);
    this.#nameChanged(parent, ref);
  }

  #dropName(ref: EntryRef): number {
    const inode = this.names.inode(ref);
    const parent = this.names.directory(ref);
    this.#count(parent, inode, -1);
    this.#state.changes.inodes.add(inode);
    this.#nameChanged(parent, ref);
    this.names.remove(ref);
    return inode;
  }

  #count(parent: number, inode: number, delta: 1 | -1): void {
    const { inodes, changes } = this.#state;
    inodes.page(inode)[recordAt(inode) + FIELD.names]! += delta;
    if (!inodes.isDirectory(inode)) return;
    inodes.set(parent, FIELD.subdirectories, inodes.get(parent, FIELD.subdirectories) + delta);
    changes.inodes.add(parent);
  }

  #nameChanged(parent: number, ref: EntryRef): void {
    this.#state.changes.directories.add(parent);
    const index = this.#state.indexes.get(parent);
    if (index === undefined) return;
    index.touched.add(leafOf(index.leaves, hashName(this.names.text(ref), HASH_SEED).major));
  }

  #release(inode: number): void {
    const { inodes, extents, changes, xattrs, texts, indexes } = this.#state;
    for (const list of [FIELD.firstExtent, FIELD.firstTreeRun] as const) {
      for (const { physical, count } of extents.of(inode, list)) this.#giveBack(physical, count);
      extents.free(inode, list);
    }
    const xattrBlock = inodes.get(inode, FIELD.xattrBlock);
    if (xattrBlock !== 0) this.#giveBack(xattrBlock, 1);
    xattrs.release(inodes.get(inode, FIELD.xattrs));
    if (inodes.isSymlink(inode) && inodes.size(inode) > 0)
      texts.free(inodes.get(inode, FIELD.payload), inodes.size(inode));
    if (inodes.isDirectory(inode)) this.allocator.countDirectory(inode, -1);
    indexes.delete(inode);
    inodes.delete(inode);
    this.allocator.freeInode(inode);
    this.#files--;
    for (const set of [changes.inodes, changes.directories, changes.xattrs]) set.delete(inode);
    changes.released.add(inode);
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
