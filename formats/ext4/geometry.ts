/** Where the fixed metadata of a file system of a given size lies. Pure arithmetic, all in blocks. */
import { AccelError } from '../../base/error.ts';
import {
  BLOCK_SIZE,
  BLOCKS_PER_GROUP,
  GROUP_BYTES,
  groupDescriptor,
  INODE_TABLE_BLOCKS,
  INODES_PER_GROUP,
} from './layout.ts';

/** Default virtual size: 64 GiB, as the reference tools make. */
export const DEFAULT_VIRTUAL_SIZE = 64 * 2 ** 30;
/** Largest virtual size: 16 TiB, the reach of 32-bit block numbers. */
export const MAX_VIRTUAL_SIZE = 2 ** 44;
/** Smallest virtual size that has room for its own metadata and some data. */
export const MIN_VIRTUAL_SIZE = GROUP_BYTES;

/**
 * The fixed metadata is at the front of the device, in this order: superblock, group descriptors, block
 * bitmaps, inode bitmaps, inode tables. `flex_bg` allows that; what a node touches at mount is then contiguous, and
 * behind `firstDataBlock` nothing interrupts file data.
 */
export interface Geometry {
  readonly virtualSize: number;
  readonly blocks: number;
  readonly groups: number;
  readonly inodes: number;
  readonly descriptorBlocks: number;
  /** First of `groups` block bitmaps. */
  readonly blockBitmaps: number;
  /** First of `groups` inode bitmaps. */
  readonly inodeBitmaps: number;
  /** First block of group 0's inode table; the tables follow each other. */
  readonly inodeTables: number;
  /** First block that files and directories may use. */
  readonly firstDataBlock: number;
}

/** The geometry for `virtualSize` bytes, a multiple of 128 MiB from 128 MiB to 16 TiB; else AccelError `usage`. */
export function geometryOf(virtualSize: number): Geometry {
  if (
    !Number.isInteger(virtualSize / GROUP_BYTES) ||
    virtualSize < MIN_VIRTUAL_SIZE ||
    virtualSize > MAX_VIRTUAL_SIZE
  ) {
    throw new AccelError('usage', 'the virtual size does not suit the file system', {
      expected: `a multiple of ${GROUP_BYTES} bytes from ${MIN_VIRTUAL_SIZE} to ${MAX_VIRTUAL_SIZE}`,
      found: virtualSize,
    });
  }
  const groups = virtualSize / GROUP_BYTES;
  const descriptorBlocks = Math.ceil((groups * groupDescriptor.size) / BLOCK_SIZE);
  const blockBitmaps = 1 + descriptorBlocks;
  const inodeBitmaps = blockBitmaps + groups;
  const inodeTables = inodeBitmaps + groups;
  return {
    virtualSize,
    blocks: groups * BLOCKS_PER_GROUP,
    groups,
    inodes: groups * INODES_PER_GROUP,
    descriptorBlocks,
    blockBitmaps,
    inodeBitmaps,
    inodeTables,
    firstDataBlock: inodeTables + groups * INODE_TABLE_BLOCKS,
  };
}
