/** The superblock that accel writes, and the identities in it. */
import type { Allocator } from './allocator.ts';
import { FLAG_UNSIGNED_HASH, HASH_HALF_MD4 } from './dirhash.ts';
import {
  BLOCK_SIZE,
  BLOCKS_PER_GROUP,
  COMPAT,
  FIRST_INODE,
  INCOMPAT,
  INODE_SIZE,
  INODES_PER_GROUP,
  inodeStruct,
  RO_COMPAT,
  SUPER_MAGIC,
  SUPERBLOCK_OFFSET,
  superblock,
} from './layout.ts';

/**
 * UUID of every file system that accel makes. A constant,
 * so that a layer's bytes depend on nothing but the layers up to it and images that share a base share its blobs.
 */
export const FILE_SYSTEM_UUID = Uint8Array.from(Buffer.from('b0d8a6c2f5c68e8f8d0a3c1e7f92a455', 'hex'));
/** Seed of the directory hash, constant for the same reason. */
export const HASH_SEED_BYTES = Uint8Array.from(Buffer.from('5d1f7c0e9a3b82468fe0d4c6b5a79312', 'hex'));
/** {@link HASH_SEED_BYTES} as the words that the hash starts from. */
export const HASH_SEED = new Uint32Array(HASH_SEED_BYTES.buffer.slice(0));

/** `s_state`: cleanly unmounted. */
const STATE_CLEAN = 1;
/** `s_errors`: continue. */
const ERRORS_CONTINUE = 1;
/** `s_default_mount_opts`: user extended attributes and POSIX ACLs, the default of kernels for years. */
const DEFAULT_MOUNT_OPTIONS = 0xc;
/** log2 of the groups whose metadata the kernel thinks of as together; 16 is mke2fs's choice. */
const LOG_GROUPS_PER_FLEX = 4;

/** Block 0 with the superblock at byte 1024. Times and counters of mounts stay zero: no clock, no history. */
export function encodeSuperblock(allocator: Allocator): Uint8Array {
  const { geometry, state } = allocator;
  const block = new Uint8Array(BLOCK_SIZE);
  superblock.write(block, SUPERBLOCK_OFFSET, {
    s_inodes_count: geometry.inodes,
    s_blocks_count_lo: geometry.blocks >>> 0,
    s_blocks_count_hi: Math.floor(geometry.blocks / 0x1_0000_0000),
    s_free_blocks_count_lo: allocator.freeBlocks >>> 0,
    s_free_blocks_count_hi: Math.floor(allocator.freeBlocks / 0x1_0000_0000),
    s_free_inodes_count: allocator.freeInodes,
    s_log_block_size: Math.log2(BLOCK_SIZE / 1024),
    s_log_cluster_size: Math.log2(BLOCK_SIZE / 1024),
    s_blocks_per_group: BLOCKS_PER_GROUP,
    s_clusters_per_group: BLOCKS_PER_GROUP,
    s_inodes_per_group: INODES_PER_GROUP,
    s_max_mnt_count: 0xffff,
    s_magic: SUPER_MAGIC,
    s_state: STATE_CLEAN,
    s_errors: ERRORS_CONTINUE,
    s_rev_level: 1,
    s_first_ino: FIRST_INODE,
    s_inode_size: INODE_SIZE,
    s_feature_compat: COMPAT.extAttr | COMPAT.dirIndex | COMPAT.sparseSuper2,
    s_feature_incompat: INCOMPAT.filetype | INCOMPAT.extents | INCOMPAT.flexBg,
    s_feature_ro_compat:
      RO_COMPAT.sparseSuper |
      RO_COMPAT.largeFile |
      RO_COMPAT.hugeFile |
      RO_COMPAT.gdtCsum |
      RO_COMPAT.dirNlink |
      RO_COMPAT.extraIsize,
    s_uuid: FILE_SYSTEM_UUID,
    s_hash_seed: HASH_SEED_BYTES,
    s_def_hash_version: HASH_HALF_MD4,
    s_default_mount_opts: DEFAULT_MOUNT_OPTIONS,
    s_min_extra_isize: inodeStruct.size - 128,
    s_want_extra_isize: inodeStruct.size - 128,
    s_flags: FLAG_UNSIGNED_HASH,
    s_log_groups_per_flex: LOG_GROUPS_PER_FLEX,
    // Blocks are never handed out twice, so what was ever written ends where the next block will be allocated. A later
    // conversion of further layers reads the position from here.
    s_kbytes_written: (state.nextBlock * BLOCK_SIZE) / 1024,
  });
  return block;
}
