/** All that is known of a file system between its layers, and which of it changed since the last commit. */
import { Allocator } from '../allocator.ts';
import type { DirectoryIndex } from '../directory-index.ts';
import type { Geometry } from '../geometry.ts';
import { FIRST_INODE } from '../layout.ts';
import { FILE_SYSTEM_UUID } from '../superblock.ts';
import { Arena, TextStore } from './arena.ts';
import { ExtentLists } from './extent-lists.ts';
import { FIELD, InodeTable } from './inode-table.ts';
import type { HashKey } from './keyed-hash.ts';
import type { MemoryBudget } from './memory-budget.ts';
import { NameTable } from './name-table.ts';
import { NumberSet } from './number-set.ts';
import { XattrSets } from './xattr-sets.ts';

/** A range of blocks. */
export interface BlockRange {
  readonly first: number;
  readonly count: number;
}

/** Inode numbers of what changed since the last commit. */
export interface Changes {
  /** Inodes whose record in the table changed; released ones are in `released`. */
  readonly inodes: NumberSet;
  /** Directories whose names changed. */
  readonly directories: NumberSet;
  /** Inodes whose extended attributes changed. */
  readonly xattrs: NumberSet;
  /** Inodes whose record is to be cleared. */
  readonly released: NumberSet;
}

/** The stores that together are the state. */
export class TreeState {
  readonly allocator: Allocator;
  readonly inodes: InodeTable;
  readonly names: NameTable;
  readonly extents: ExtentLists;
  /** Texts of symlinks. */
  readonly texts: TextStore;
  readonly xattrs: XattrSets;
  /** Indexes of the directories that have one. */
  readonly indexes = new Map<number, DirectoryIndex>();
  readonly changes: Changes = {
    inodes: new NumberSet(),
    directories: new NumberSet(),
    xattrs: new NumberSet(),
    released: new NumberSet(),
  };

  constructor(geometry: Geometry, memory: MemoryBudget, key: HashKey) {
    const arena = new Arena(memory);
    this.allocator = new Allocator(geometry, FILE_SYSTEM_UUID, FIRST_INODE);
    this.inodes = new InodeTable(memory);
    this.names = new NameTable({ arena, inodes: this.inodes, memory, key });
    this.extents = new ExtentLists(arena, this.inodes);
    this.texts = new TextStore(arena);
    this.xattrs = new XattrSets(memory);
  }

  /** Allocates `count` blocks of content from block `logical` on, contiguous; the first one's number on the device. */
  allocate(inode: number, logical: number, count: number): number {
    const physical = this.allocator.allocateBlocks(count);
    this.extents.append(inode, FIELD.firstExtent, { logical, physical, count });
    this.changes.inodes.add(inode);
    return physical;
  }

  /** Text of a symlink. */
  target(inode: number): Uint8Array {
    return this.texts.bytes(this.inodes.get(inode, FIELD.payload), this.inodes.size(inode));
  }

  /** Forgets what changed. */
  clearChanges(): void {
    for (const set of Object.values(this.changes)) set.clear();
  }
}
