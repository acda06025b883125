/** Committing a layer: blocks for everything that changed, then the changed blocks themselves. */
import type { MetadataBlock } from './allocator.ts';
import { CONTENT, CommitPlan, type PlannedBlock } from './commit-plan.ts';
import { EntryBlock } from './directory-entries.ts';
import { encodeIndexBlock, firstBlock } from './directory-index.ts';
import { DirectoryPlanner } from './directory-layout.ts';
import { blockNumbers, encodeInode } from './encode-inode.ts';
import { type ExtentTree, extentTreeBlocks, extentTreeNode } from './extents.ts';
import { BLOCK_SIZE, DIRENT_TYPE, INODE_SIZE, INODES_PER_BLOCK, type InodeType, S_IF } from './layout.ts';
import { FIELD } from './state/inode-table.ts';
import { type EntryRef, textStart } from './state/name-table.ts';
import { NumberSet } from './state/number-set.ts';
import type { TreeState } from './state/tree-state.ts';
import { encodeSuperblock } from './superblock.ts';

/** Inodes looked at between two pauses. */
const INODES_PER_STEP = 1024;

/** Types of directory entries by the bits of `i_mode` that have the type. */
const TYPE_SHIFT = 12;
const TYPE_NUMBERS = new Uint8Array(16);
for (const [type, bits] of Object.entries(S_IF)) TYPE_NUMBERS[bits >>> TYPE_SHIFT] = DIRENT_TYPE[type as InodeType];

/** A step of a commit: a block, or undefined where the caller may pause for others. */
export type CommitStep = MetadataBlock | undefined;

/** Commits a layer. `release` gives blocks back that no inode uses any more. */
export class LayerCommit {
  readonly #state: TreeState;
  readonly #release: (first: number, count: number) => void;
  readonly #plan = new CommitPlan();
  /** Memory of the block that was yielded last: a million of their own would be garbage faster than it is collected. */
  readonly #scratch = new Uint8Array(BLOCK_SIZE);
  readonly #scratchView = new DataView(this.#scratch.buffer);
  /** The extent tree whose nodes are being written: they come one after another. */
  #tree: { readonly inode: number; readonly tree: ExtentTree } | undefined;

  constructor(state: TreeState, release: (first: number, count: number) => void) {
    this.#state = state;
    this.#release = release;
  }

  /**
   * Yields the metadata blocks that differ from the last commit, ascending, and forgets the changes. Blocks are encoded
   * one at a time, so that a million of them take no more memory than one: each is valid until the next is asked for.
   *
   * Directories, attributes and extent trees get their blocks here, behind the file data of the layer and not among it:
   * directories first and in the order of their inodes, so that a walk of the tree reads one region of the device.
   */
  *steps(): Generator<CommitStep> {
    const { allocator, changes } = this.#state;
    yield* this.#placeDirectories();
    yield* this.#placeOthers();
    const tables = new NumberSet();
    for (const set of [changes.inodes, changes.released])
      for (const inode of set) tables.add(Math.floor((inode - 1) / INODES_PER_BLOCK));

    yield { block: 0, bytes: encodeSuperblock(allocator) };
    yield* allocator.commit();
    for (const table of tables)
      yield { block: allocator.geometry.inodeTables + table, bytes: this.#encodeTableBlock(table) };
    for (const planned of this.#plan.ascending()) yield { block: planned.block, bytes: this.#encode(planned) };
    this.#state.clearChanges();
  }

  *#placeDirectories(): Generator<undefined> {
    const planner = new DirectoryPlanner(this.#state, this.#plan);
    let step = 0;
    for (const directory of this.#state.changes.directories) {
      if (++step % INODES_PER_STEP === 0) yield;
      yield* planner.add(directory);
    }
  }

  /** Texts of symlinks, blocks of attributes, nodes of extent trees. */
  *#placeOthers(): Generator<undefined> {
    const { inodes, changes, extents } = this.#state;
    let step = 0;
    for (const inode of changes.inodes) {
      if (++step % INODES_PER_STEP === 0) yield;
      const isSlow = inodes.isSymlink(inode) && !inodes.isFastSymlink(inode);
      if (isSlow && inodes.get(inode, FIELD.firstExtent) === 0)
        this.#write(this.#state.allocate(inode, 0, 1), CONTENT.symlink, inode, 0);
      if (changes.xattrs.has(inode)) this.#placeXattrs(inode);
      if (extents.blocksInPlace(inode, FIELD.firstExtent) === 0) this.#placeExtents(inode);
    }
  }

  #placeXattrs(inode: number): void {
    const { inodes, allocator, xattrs } = this.#state;
    let block = inodes.get(inode, FIELD.xattrBlock);
    if (xattrs.encoded(inodes.get(inode, FIELD.xattrs)).block === undefined) {
      if (block !== 0) this.#release(block, 1);
      inodes.set(inode, FIELD.xattrBlock, 0);
      return;
    }
    if (block === 0) {
      block = allocator.allocateBlocks(1);
      inodes.set(inode, FIELD.xattrBlock, block);
    }
    this.#write(block, CONTENT.xattrs, inode, 0);
  }

  /** Rewrites the extent tree of an inode whose extents do not fit its root. Such inodes are few: no diffing of nodes. */
  #placeExtents(inode: number): void {
    const { extents, allocator } = this.#state;
    const needed = extentTreeBlocks(extents.length(inode, FIELD.firstExtent));
    if (needed === 0) return;
    const had = extents.blocks(inode, FIELD.firstTreeRun);
    if (needed > had) {
      const physical = allocator.allocateBlocks(needed - had);
      extents.append(inode, FIELD.firstTreeRun, { logical: had, physical, count: needed - had });
    }
    blockNumbers(extents.of(inode, FIELD.firstTreeRun)).forEach((block, node) => {
      if (node < needed) this.#write(block, CONTENT.extents, inode, node);
    });
  }

  #write(block: number, content: number, inode: number, from: number): void {
    this.#plan.add({ block, content, inode, from, to: 0 });
  }

  #encodeTableBlock(table: number): Uint8Array {
    const block = this.#scratch.fill(0);
    for (let slot = 0; slot < INODES_PER_BLOCK; slot++) {
      const inode = table * INODES_PER_BLOCK + slot + 1;
      if (this.#state.inodes.has(inode)) encodeInode(this.#state, inode, this.#scratchView, slot * INODE_SIZE);
    }
    return block;
  }

  #encode({ content, inode, from, to }: PlannedBlock): Uint8Array {
    const { inodes, indexes, xattrs } = this.#state;
    const parent = inodes.get(inode, FIELD.payload);
    switch (content) {
      case CONTENT.names:
        return this.#encodeNames(inode, parent);
      case CONTENT.leaf:
        return this.#encodeLeaf(from, to);
      case CONTENT.index:
        return encodeIndexBlock(indexes.get(inode)!, from, inode, parent);
      case CONTENT.symlink: {
        const block = this.#scratch.fill(0);
        block.set(this.#state.target(inode));
        return block;
      }
      case CONTENT.xattrs:
        return xattrs.encoded(inodes.get(inode, FIELD.xattrs)).block!;
      default:
        return extentTreeNode(this.#treeOf(inode), from);
    }
  }

  #encodeNames(directory: number, parent: number): Uint8Array {
    const { names } = this.#state;
    const block = firstBlock(directory, parent, this.#scratch);
    for (let ref = names.first(directory); ref !== 0; ref = names.next(ref)) this.#addName(block, ref);
    return block.bytes;
  }

  #encodeLeaf(from: number, to: number): Uint8Array {
    const block = new EntryBlock(this.#scratch);
    for (let i = from; i < to; i++) this.#addName(block, this.#plan.names.at(i));
    if (from === to) block.addUnused();
    return block.bytes;
  }

  #addName(block: EntryBlock, ref: EntryRef): void {
    const { names, inodes } = this.#state;
    const inode = names.inode(ref);
    const type = TYPE_NUMBERS[inodes.mode(inode) >>> TYPE_SHIFT]!;
    block.add(names.memory(ref), textStart(ref), names.length(ref), { inode, type });
  }

  #treeOf(inode: number): ExtentTree {
    if (this.#tree?.inode !== inode) {
      const { extents } = this.#state;
      const blocks = blockNumbers(extents.of(inode, FIELD.firstTreeRun));
      this.#tree = { inode, tree: { extents: extents.of(inode, FIELD.firstExtent), blocks } };
    }
    return this.#tree.tree;
  }
}
