/**
 * Lists of extents: the content of an inode, or the blocks of its extent tree. Nearly every list is one extent from the
 * first block on; it lies in the inode's two words for the list. Others are records of 16 bytes each.
 */
import type { Extent } from '../extents.ts';
import { EXTENT_MAX_BLOCKS } from '../layout.ts';
import { type Arena, PAGE_BITS, PAGE_MASK } from './arena.ts';
import { FIELD, type InodeTable } from './inode-table.ts';

const LOGICAL = 0;
const PHYSICAL = 1;
const COUNT = 2;
const NEXT = 3;
const WORDS = 4;

/**
 * The field of an inode that holds a list's first record; the last one is in the next field. A next field of at most 32,768
 * is no reference but a count: of blocks that begin at the device's block in the first field and at block 0 of the content.
 */
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
    const taken = this.#lengthen(inode, list, { logical, physical, count });
    for (let at = taken; at < count; at += EXTENT_MAX_BLOCKS) {
      const length = Math.min(EXTENT_MAX_BLOCKS, count - at);
      this.push(inode, list, { logical: logical + at, physical: physical + at, count: length });
    }
  }

  /** Appends one extent as it is. */
  push(inode: number, list: ExtentListField, extent: Extent): void {
    const { logical, physical, count } = extent;
    const last = this.#inodes.get(inode, list + 1);
    if (last === 0 && logical === 0 && physical > 0 && count > 0) {
      this.#inodes.set(inode, list, physical);
      this.#inodes.set(inode, list + 1, count);
      return;
    }
    const before = isCount(last) ? this.#moveOut(inode, list) : last;
    const ref = this.#record(extent);
    if (before === 0) this.#inodes.set(inode, list, ref);
    else this.#arena.pages[before >>> PAGE_BITS]![(before & PAGE_MASK) + NEXT] = ref;
    this.#inodes.set(inode, list + 1, ref);
  }

  /** The extents of a list, ascending. */
  of(inode: number, list: ExtentListField): Extent[] {
    const first = this.#inodes.get(inode, list);
    const last = this.#inodes.get(inode, list + 1);
    if (isCount(last)) return [{ logical: 0, physical: first, count: last }];
    const out: Extent[] = [];
    for (let ref = first; ref !== 0; ) {
      const page = this.#arena.pages[ref >>> PAGE_BITS]!;
      const at = ref & PAGE_MASK;
      out.push({ logical: page[at + LOGICAL]!, physical: page[at + PHYSICAL]!, count: page[at + COUNT]! });
      ref = page[at + NEXT]!;
    }
    return out;
  }

  /** Blocks of a list of one extent from block 0 on, which the list's own field names; 0 for any other. */
  blocksInPlace(inode: number, list: ExtentListField): number {
    const last = this.#inodes.get(inode, list + 1);
    return isCount(last) ? last : 0;
  }

  /** Number of extents in a list. */
  length(inode: number, list: ExtentListField): number {
    if (isCount(this.#inodes.get(inode, list + 1))) return 1;
    let length = 0;
    for (let ref = this.#inodes.get(inode, list); ref !== 0; ref = this.#next(ref)) length++;
    return length;
  }

  /** Blocks in all extents of a list. */
  blocks(inode: number, list: ExtentListField): number {
    const last = this.#inodes.get(inode, list + 1);
    if (isCount(last)) return last;
    let blocks = 0;
    for (let ref = this.#inodes.get(inode, list); ref !== 0; ref = this.#next(ref))
      blocks += this.#arena.pages[ref >>> PAGE_BITS]![(ref & PAGE_MASK) + COUNT]!;
    return blocks;
  }

  /** Device block of block `logical` of the content, which must have one. */
  physical(inode: number, logical: number): number {
    const first = this.#inodes.get(inode, FIELD.firstExtent);
    const last = this.#inodes.get(inode, FIELD.lastExtent);
    if (isCount(last)) return logical < last ? first + logical : 0;
    for (let ref = first; ref !== 0; ) {
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
    const isInPlace = isCount(this.#inodes.get(inode, list + 1));
    for (let ref = isInPlace ? 0 : this.#inodes.get(inode, list); ref !== 0; ) {
      const next = this.#next(ref);
      this.#arena.free(ref, WORDS);
      ref = next;
    }
    this.#inodes.set(inode, list, 0);
    this.#inodes.set(inode, list + 1, 0);
  }

  /** Lets the last extent of a list grow by what follows it on both sides; answers the blocks that it took. */
  #lengthen(inode: number, list: ExtentListField, { logical, physical, count }: Extent): number {
    const last = this.#inodes.get(inode, list + 1);
    if (last === 0) return 0;
    if (isCount(last)) {
      if (last !== logical || this.#inodes.get(inode, list) + last !== physical) return 0;
      const taken = Math.min(EXTENT_MAX_BLOCKS - last, count);
      this.#inodes.set(inode, list + 1, last + taken);
      return taken;
    }
    const page = this.#arena.pages[last >>> PAGE_BITS]!;
    const at = last & PAGE_MASK;
    const length = page[at + COUNT]!;
    if (page[at + LOGICAL]! + length !== logical || page[at + PHYSICAL]! + length !== physical) return 0;
    const taken = Math.min(EXTENT_MAX_BLOCKS - length, count);
    page[at + COUNT] = length + taken;
    return taken;
  }

  /** Gives the extent that lies in the inode a record, for another follows it. */
  #moveOut(inode: number, list: ExtentListField): number {
    const [extent] = this.of(inode, list);
    const ref = this.#record(extent!);
    this.#inodes.set(inode, list, ref);
    return ref;
  }

  #record({ logical, physical, count }: Extent): number {
    const ref = this.#arena.allocate(WORDS);
    const page = this.#arena.pages[ref >>> PAGE_BITS]!;
    const at = ref & PAGE_MASK;
    page[at + LOGICAL] = logical;
    page[at + PHYSICAL] = physical;
    page[at + COUNT] = count;
    page[at + NEXT] = 0;
    return ref;
  }

  #next(ref: number): number {
    return this.#arena.pages[ref >>> PAGE_BITS]![(ref & PAGE_MASK) + NEXT]!;
  }
}

/** Whether the second word of a list counts the blocks of its only extent: the arena has no reference so small. */
function isCount(last: number): boolean {
  return last !== 0 && last <= EXTENT_MAX_BLOCKS;
}
