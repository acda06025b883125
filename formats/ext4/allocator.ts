/**
 * Blocks and inodes: bitmaps, the counts of the group descriptors, and which of these blocks a layer changed.
 *
 * Both are handed out in ascending order and never twice, not even after they were freed. So entries that a tar has next to
 * each other lies next to each other on the device, and a block that a layer maps was never mapped by a layer below:
 * behind the last sector of a file the device reads as zeros in index-only layers too (docs/formats.md §5).
 */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import { crc16 } from '../checksum/crc16.ts';
import type { Geometry } from './geometry.ts';
import {
  BLOCK_SIZE,
  BLOCKS_PER_GROUP,
  GROUP_FLAG,
  groupDescriptor,
  INODE_TABLE_BLOCKS,
  INODES_PER_GROUP,
} from './layout.ts';

/** Bits set past the end of an inode bitmap, which covers less than its block. */
const INODE_BITMAP_BYTES = INODES_PER_GROUP / 8;
const NO_BITMAP: Uint8Array = new Uint8Array(0);

/** A block of metadata: its number on the device and its 4096 bytes. */
export interface MetadataBlock {
  readonly block: number;
  readonly bytes: Uint8Array;
}

/** The state of the allocations, to be continued in a later run over the same stack of layers. */
export interface AllocatorState {
  /** First block never handed out. */
  readonly nextBlock: number;
  /** First inode number never handed out. */
  readonly nextInode: number;
}

/** A group as its descriptor and bitmaps have it; a bitmap that was never written is undefined. */
export interface GroupState {
  readonly freeBlocks: number;
  readonly freeInodes: number;
  readonly directories: number;
  readonly blockBitmap: Uint8Array | undefined;
  readonly inodeBitmap: Uint8Array | undefined;
}

/** Allocator of one file system. */
export class Allocator {
  readonly geometry: Geometry;
  readonly #uuid: Uint8Array;
  #nextBlock: number;
  #nextInode: number;
  #freeBlocks: number;
  #freeInodes: number;
  readonly #blockBitmaps = new Map<number, Uint8Array>();
  readonly #inodeBitmaps = new Map<number, Uint8Array>();
  readonly #groupFreeBlocks: Uint16Array;
  readonly #groupFreeInodes: Uint16Array;
  readonly #groupDirectories: Uint16Array;
  readonly #dirtyBlockBitmaps = new Set<number>();
  readonly #dirtyInodeBitmaps = new Set<number>();
  readonly #dirtyDescriptorBlocks = new Set<number>();
  /** The groups that changed last, which count as changed already, and their bitmaps; -1: none. */
  #blockGroup = -1;
  #blockGroupBitmap = NO_BITMAP;
  #inodeGroup = -1;
  #inodeBitmap = NO_BITMAP;

  /** An empty file system: the fixed metadata is in use, every descriptor is to be written. */
  constructor(geometry: Geometry, uuid: Uint8Array, firstInode: number) {
    this.geometry = geometry;
    this.#uuid = uuid;
    this.#nextBlock = 0;
    this.#nextInode = 1;
    this.#freeBlocks = geometry.blocks;
    this.#freeInodes = geometry.inodes;
    // A full group's 32768 free blocks fit the 16-bit field.
    this.#groupFreeBlocks = new Uint16Array(geometry.groups).fill(BLOCKS_PER_GROUP);
    this.#groupFreeInodes = new Uint16Array(geometry.groups).fill(INODES_PER_GROUP);
    this.#groupDirectories = new Uint16Array(geometry.groups);
    for (let i = 0; i < geometry.descriptorBlocks; i++) this.#dirtyDescriptorBlocks.add(i);
    this.allocateBlocks(geometry.firstDataBlock);
    // e2fsck wants the last group's bitmap written, since that group may end short of its bitmap; ours never does.
    this.#blockBitmap(geometry.groups - 1);
    this.#dirtyBlockBitmaps.add(geometry.groups - 1);
    for (let i = 1; i < firstInode; i++) this.allocateInode();
  }

  /** Takes over the allocations of a file system that was committed before; nothing is to be written then. */
  restore(state: AllocatorState, groups: readonly GroupState[]): void {
    this.#nextBlock = state.nextBlock;
    this.#nextInode = state.nextInode;
    this.#freeBlocks = 0;
    this.#freeInodes = 0;
    this.#blockBitmaps.clear();
    this.#inodeBitmaps.clear();
    groups.forEach((group, index) => {
      this.#freeBlocks += group.freeBlocks;
      this.#freeInodes += group.freeInodes;
      this.#groupFreeBlocks[index] = group.freeBlocks;
      this.#groupFreeInodes[index] = group.freeInodes;
      this.#groupDirectories[index] = group.directories;
      if (group.blockBitmap !== undefined) this.#blockBitmaps.set(index, group.blockBitmap);
      if (group.inodeBitmap !== undefined) this.#inodeBitmaps.set(index, group.inodeBitmap);
    });
    this.#forgetChanges();
  }

  /** Blocks not in use. */
  get freeBlocks(): number {
    return this.#freeBlocks;
  }

  /** Inodes not in use. */
  get freeInodes(): number {
    return this.#freeInodes;
  }

  /** The state of allocation. */
  get state(): AllocatorState {
    return { nextBlock: this.#nextBlock, nextInode: this.#nextInode };
  }

  /** `count` contiguous blocks; the first one's number. AccelError `filesystem-full` when the device ends before. */
  allocateBlocks(count: number): number {
    const first = this.#nextBlock;
    if (count > this.geometry.blocks - first) {
      throw new AccelError('filesystem-full', 'the image does not fit its virtual size', {
        expected: `${count * BLOCK_SIZE} bytes behind byte ${first * BLOCK_SIZE}`,
        found: `a device of ${this.geometry.virtualSize} bytes`,
        hint: advise`Convert with a larger ${option('virtualSize')}.`,
      });
    }
    this.#nextBlock += count;
    this.#markBlocks(first, count, true);
    return first;
  }

  /** Gives blocks back to the bitmap. They are not handed out again. */
  freeBlockRange(first: number, count: number): void {
    this.#markBlocks(first, count, false);
  }

  /** A new inode number. AccelError `filesystem-full` when no inode is left. */
  allocateInode(): number {
    const inode = this.#nextInode;
    if (inode > this.geometry.inodes) {
      throw new AccelError('filesystem-full', 'the image holds more files than its file system has inodes', {
        expected: `at most ${this.geometry.inodes} inodes`,
        found: inode,
        hint: advise`Convert with a larger ${option('virtualSize')}: every 16 KiB of it make room for one file.`,
      });
    }
    this.#nextInode++;
    this.#markInode(inode, true);
    return inode;
  }

  /** Gives an inode number back to the bitmap. It is not handed out again. */
  freeInode(inode: number): void {
    this.#markInode(inode, false);
  }

  /** Counts a directory inode of its group in (+1) or out (-1). */
  countDirectory(inode: number, delta: 1 | -1): void {
    const group = Math.floor((inode - 1) / INODES_PER_GROUP);
    this.#groupDirectories[group] = this.#groupDirectories[group]! + delta;
    this.#touchDescriptor(group);
  }

  /** True when anything below was changed since the last {@link commit}. */
  get dirty(): boolean {
    return this.#dirtyDescriptorBlocks.size > 0;
  }

  /** The descriptor and bitmap blocks that changed since the last call, ascending; forgets that they did. */
  *commit(): Generator<MetadataBlock> {
    const { geometry } = this;
    for (const index of ascending(this.#dirtyDescriptorBlocks)) {
      yield { block: 1 + index, bytes: this.#descriptorBlock(index) };
    }
    for (const group of ascending(this.#dirtyBlockBitmaps)) {
      yield { block: geometry.blockBitmaps + group, bytes: this.#blockBitmaps.get(group)!.slice() };
    }
    for (const group of ascending(this.#dirtyInodeBitmaps)) {
      yield { block: geometry.inodeBitmaps + group, bytes: this.#inodeBitmaps.get(group)!.slice() };
    }
    this.#forgetChanges();
  }

  #forgetChanges(): void {
    for (const set of [this.#dirtyDescriptorBlocks, this.#dirtyBlockBitmaps, this.#dirtyInodeBitmaps]) set.clear();
    this.#blockGroup = -1;
    this.#inodeGroup = -1;
  }

  #descriptorBlock(index: number): Uint8Array {
    const block = new Uint8Array(BLOCK_SIZE);
    const perBlock = BLOCK_SIZE / groupDescriptor.size;
    const end = Math.min((index + 1) * perBlock, this.geometry.groups);
    for (let group = index * perBlock; group < end; group++) {
      block.set(this.#descriptor(group), (group - index * perBlock) * groupDescriptor.size);
    }
    return block;
  }

  #descriptor(group: number): Uint8Array {
    const { geometry } = this;
    const firstInode = group * INODES_PER_GROUP + 1;
    // Unwritten blocks of the device read as zeros, so every inode table counts as zeroed: no lazy initialisation on nodes.
    let flags: number = GROUP_FLAG.inodeZeroed;
    if (!this.#inodeBitmaps.has(group)) flags |= GROUP_FLAG.inodeUninit;
    if (!this.#blockBitmaps.has(group)) flags |= GROUP_FLAG.blockUninit;
    const descriptor = groupDescriptor.encode({
      bg_block_bitmap_lo: geometry.blockBitmaps + group,
      bg_inode_bitmap_lo: geometry.inodeBitmaps + group,
      bg_inode_table_lo: geometry.inodeTables + group * INODE_TABLE_BLOCKS,
      bg_free_blocks_count_lo: this.#groupFreeBlocks[group]!,
      bg_free_inodes_count_lo: this.#groupFreeInodes[group]!,
      bg_used_dirs_count_lo: this.#groupDirectories[group]!,
      bg_flags: flags,
      bg_itable_unused_lo: INODES_PER_GROUP - Math.min(Math.max(this.#nextInode - firstInode, 0), INODES_PER_GROUP),
    });
    // The checksum covers the file system's UUID, the group's number and the descriptor before the checksum.
    const number = new Uint8Array(4);
    new DataView(number.buffer).setUint32(0, group, true);
    const covered = descriptor.subarray(0, groupDescriptor.offsets.bg_checksum);
    const checksum = crc16(covered, crc16(number, crc16(this.#uuid, 0xffff)));
    new DataView(descriptor.buffer).setUint16(groupDescriptor.offsets.bg_checksum, checksum, true);
    return descriptor;
  }

  #markBlocks(first: number, count: number, used: boolean): void {
    for (let at = first, end = first + count; at < end; ) {
      const group = Math.floor(at / BLOCKS_PER_GROUP);
      const bit = at - group * BLOCKS_PER_GROUP;
      const length = Math.min(BLOCKS_PER_GROUP - bit, end - at);
      setBits(group === this.#blockGroup ? this.#blockGroupBitmap : this.#enterBlocks(group), bit, length, used);
      const delta = used ? -length : length;
      this.#groupFreeBlocks[group]! += delta;
      this.#freeBlocks += delta;
      at += length;
    }
  }

  /** Turns to the blocks of a group, which are about to change. */
  #enterBlocks(group: number): Uint8Array {
    const bitmap = this.#blockBitmap(group);
    this.#dirtyBlockBitmaps.add(group);
    this.#touchDescriptor(group);
    this.#blockGroup = group;
    this.#blockGroupBitmap = bitmap;
    return bitmap;
  }

  #blockBitmap(group: number): Uint8Array {
    let bitmap = this.#blockBitmaps.get(group);
    if (bitmap === undefined) {
      bitmap = new Uint8Array(BLOCK_SIZE);
      this.#blockBitmaps.set(group, bitmap);
    }
    return bitmap;
  }

  #markInode(inode: number, used: boolean): void {
    const group = Math.floor((inode - 1) / INODES_PER_GROUP);
    const bitmap = group === this.#inodeGroup ? this.#inodeBitmap : this.#enterInodes(group);
    setBits(bitmap, (inode - 1) % INODES_PER_GROUP, 1, used);
    const delta = used ? -1 : 1;
    this.#groupFreeInodes[group]! += delta;
    this.#freeInodes += delta;
  }

  /** Turns to the inodes of a group, which are about to change. */
  #enterInodes(group: number): Uint8Array {
    let bitmap = this.#inodeBitmaps.get(group);
    if (bitmap === undefined) {
      bitmap = new Uint8Array(BLOCK_SIZE).fill(0xff, INODE_BITMAP_BYTES);
      this.#inodeBitmaps.set(group, bitmap);
    }
    this.#dirtyInodeBitmaps.add(group);
    this.#touchDescriptor(group);
    this.#inodeGroup = group;
    this.#inodeBitmap = bitmap;
    return bitmap;
  }

  #touchDescriptor(group: number): void {
    this.#dirtyDescriptorBlocks.add(Math.floor((group * groupDescriptor.size) / BLOCK_SIZE));
  }
}

/** Sets or clears `count` bits of a bitmap from `first`; all of them must change, or the state is broken. */
function setBits(bitmap: Uint8Array, first: number, count: number, used: boolean): void {
  for (let bit = first, end = first + count; bit < end; ) {
    const index = bit >>> 3;
    if ((bit & 7) === 0 && end - bit >= 8) {
      if (bitmap[index] !== (used ? 0 : 0xff)) throw new AccelError('internal', 'a block bitmap changed twice');
      bitmap[index] = used ? 0xff : 0;
      bit += 8;
      continue;
    }
    const mask = 1 << (bit & 7);
    if (((bitmap[index]! & mask) !== 0) === used) throw new AccelError('internal', 'a bitmap changed twice');
    bitmap[index] = bitmap[index]! ^ mask;
    bit++;
  }
}

/** The members of a set of numbers in ascending order. */
export function ascending(numbers: ReadonlySet<number>): number[] {
  return [...numbers].sort((a, b) => a - b);
}
