/** Lists of extents, 16 bytes each: the content of an inode, or the blocks of its extent tree. */
import type { Extent } from '../extents.ts';
import { EXTENT_MAX_BLOCKS } from '../layout.ts';
import { type Arena, PAGE_BITS, PAGE_MASK } from './arena.ts';
import { FIELD, type InodeTable } from './inode-table.ts';

const LOGICAL = 0;
const PHYSICAL = 1;
const COUNT = 2;
const NEXT = 3;
const WORDS = 4;

/** The field of an inode that holds a list's first record; the last one is in the next field. */
export type ExtentListField = typeof FIELD.firstExtent | typeof FIELD.firstTreeRun;

/** The lists of all inodes. */
export class ExtentLists {
  readonly #arena: Arena;
  readonly #inodes: InodeTable;

  constructor(arena: Arena, inodes: InodeTable) {
    this.#arena = arena;
    this.#inodes = inodes;
  }

  /** Appends `count` blocks at the end of a list, merging and splitting at the format's 128 MiB. */
  append(inode: number, list: ExtentListField, { logical, physical, count }: Extent): void {
    let taken = 0;
    const last = this.#inodes.get(inode, list + 1);
    if (last !== 0) {
      const page = this.#arena.pages[last >>> PAGE_BITS]!;
      const at = last & PAGE_MASK;
      const length = page[at + COUNT]!;
      if (page[at + LOGICAL]! + length === logical && page[at + PHYSICAL]! + length === physical) {
        taken = Math.min(EXTENT_MAX_BLOCKS - length, count);
        page[at + COUNT] = length + taken;
      }
    }
    while (taken < count) {
      const length = Math.min(EXTENT_MAX_BLOCKS, count - taken);
      this.push(inode, list, { logical: logical + taken, physical: physical + taken, count: length });
      taken += length;
    }
  }

  /** Appends one extent as it is. */
  push(inode: number, list: ExtentListField, { logical, physical, count }: Extent): void {
    const ref = this.#arena.allocate(WORDS);
    const page = this.#arena.pages[ref >>> PAGE_BITS]!;
    const at = ref & PAGE_MASK;
    page[at + LOGICAL] = logical;
    page[at + PHYSICAL] = physical;
    page[at + COUNT] = count;
    page[at + NEXT] = 0;
    const last = this.#inodes.get(inode, list + 1);
    if (last === 0) this.#inodes.set(inode, list, ref);
    else this.#arena.pages[last >>> PAGE_BITS]![(last & PAGE_MASK) + NEXT] = ref;
    this.#inodes.set(inode, list + 1, ref);
  }

  /** The extents of a list, ascending. */
  of(inode: number, list: ExtentListField): Extent[] {
    const out: Extent[] = [];
    for (let ref = this.#inodes.get(inode, list); ref !== 0; ) {
      const page = this.#arena.pages[ref >>> PAGE_BITS]!;
      const at = ref & PAGE_MASK;
      out.push({ logical: page[at + LOGICAL]!, physical: page[at + PHYSICAL]!, count: page[at + COUNT]! });
      ref = page[at + NEXT]!;
    }
    return out;
  }

  /** Number of extents in a list. */
  length(inode: number, list: ExtentListField): number {
    let length = 0;
    for (let ref = this.#inodes.get(inode, list); ref !== 0; ref = this.#next(ref)) length++;
    return length;
  }

  /** Blocks in all extents of a list. */
  blocks(inode: number, list: ExtentListField): number {
    let blocks = 0;
    for (let ref = this.#inodes.get(inode, list); ref !== 0; ref = this.#next(ref))
      blocks += this.#arena.pages[ref >>> PAGE_BITS]![(ref & PAGE_MASK) + COUNT]!;
    return blocks;
  }

  /** Device block of block `logical` of the content, which must have one. */
  physical(inode: number, logical: number): number {
    for (let ref = this.#inodes.get(inode, FIELD.firstExtent); ref !== 0; ) {
      const page = this.#arena.pages[ref >>> PAGE_BITS]!;
      const at = ref & PAGE_MASK;
      const into = logical - page[at + LOGICAL]!;
      if (into >= 0 && into < page[at + COUNT]!) return page[at + PHYSICAL]! + into;
      ref = page[at + NEXT]!;
    }
    return 0;
  }

  /** Drops a list. */
  free(inode: number, list: ExtentListField): void {
    for (let ref = this.#inodes.get(inode, list); ref !== 0; ) {
      const next = this.#next(ref);
      this.#arena.free(ref, WORDS);
      ref = next;
    }
    this.#inodes.set(inode, list, 0);
    this.#inodes.set(inode, list + 1, 0);
  }

  #next(ref: number): number {
    return this.#arena.pages[ref >>> PAGE_BITS]![(ref & PAGE_MASK) + NEXT]!;
  }
}
