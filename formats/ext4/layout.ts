/**
 * ext4's structures on disk, with the names of the kernel's documentation (Documentation/filesystems/ext4) and no
 * behaviour. Fields that accel never sets are grouped as `reserved`; the list of them, with reasons, is in README.md.
 */
import { array, bytes, reserved, struct, text, u8, u16, u32, u64 } from '../bytes/struct.ts';

/** Bytes of a block; accel writes no other size, because the runtime compresses and maps in 4 KiB. */
export const BLOCK_SIZE = 4096;
/** Blocks of a group: one bitmap block's worth of bits. */
export const BLOCKS_PER_GROUP = BLOCK_SIZE * 8;
/** Bytes of a group: 128 MiB. A virtual size is a multiple of this. */
export const GROUP_BYTES = BLOCKS_PER_GROUP * BLOCK_SIZE;
/** Bytes of an inode: the classic 128, 32 of extra fields, and room for small extended attributes. */
export const INODE_SIZE = 256;
/** Inodes of a group; one for each 16 KiB of space, as mke2fs gives by default. */
export const INODES_PER_GROUP = GROUP_BYTES / 16384;
/** Blocks of a group's inode table. */
export const INODE_TABLE_BLOCKS = (INODES_PER_GROUP * INODE_SIZE) / BLOCK_SIZE;
/** Inodes in a block of the inode table. */
export const INODES_PER_BLOCK = BLOCK_SIZE / INODE_SIZE;
/** Byte of the device where the superblock starts. */
export const SUPERBLOCK_OFFSET = 1024;
/** Bytes of `i_block`: 15 block pointers, an extent root or the text of a short symlink. */
export const I_BLOCK_SIZE = 60;

/** Longest name of a directory entry, in bytes. */
export const NAME_MAX = 255;
/** Hard links an inode may have; a directory past it counts 1 (`dir_nlink`). */
export const LINK_MAX = 65_000;
/** Blocks of one written extent: 128 MiB. */
export const EXTENT_MAX_BLOCKS = 32_768;

/** Inode number of the root directory. */
export const ROOT_INODE = 2;
/** First inode that is not reserved; e2fsck wants `/lost+found` and mke2fs puts it here. */
export const FIRST_INODE = 11;

/** `s_magic`. */
export const SUPER_MAGIC = 0xef53;
/** `eh_magic` of an extent tree node. */
export const EXTENT_MAGIC = 0xf30a;
/** `h_magic` of extended attributes, in the inode and in a block. */
export const XATTR_MAGIC = 0xea02_0000;

/** `s_feature_compat` bits. */
export const COMPAT = { extAttr: 0x8, resizeInode: 0x10, dirIndex: 0x20, sparseSuper2: 0x200 } as const;
/** `s_feature_incompat` bits. */
export const INCOMPAT = {
  filetype: 0x2,
  recover: 0x4,
  journalDevice: 0x8,
  metaBg: 0x10,
  extents: 0x40,
  is64bit: 0x80,
  flexBg: 0x200,
  eaInode: 0x400,
  csumSeed: 0x2000,
  largedir: 0x4000,
  inlineData: 0x8000,
} as const;
/** `s_feature_ro_compat` bits. */
export const RO_COMPAT = {
  sparseSuper: 0x1,
  largeFile: 0x2,
  hugeFile: 0x8,
  gdtCsum: 0x10,
  dirNlink: 0x20,
  extraIsize: 0x40,
} as const;

/** `i_flags` bits. */
export const INODE_FLAG = {
  index: 0x1000,
  hugeFile: 0x4_0000,
  extents: 0x8_0000,
  eaInode: 0x20_0000,
  inlineData: 0x1000_0000,
} as const;
/** `bg_flags` bits: what of the group was never written, so that nobody reads it. */
export const GROUP_FLAG = { inodeUninit: 0x1, blockUninit: 0x2, inodeZeroed: 0x4 } as const;

/** File type bits of `i_mode` (POSIX `S_IFMT`). */
export const S_IFMT = 0xf000;
/** `S_IF*` by the names that tar entries use. */
export const S_IF = {
  fifo: 0x1000,
  character: 0x2000,
  directory: 0x4000,
  block: 0x6000,
  file: 0x8000,
  symlink: 0xa000,
  socket: 0xc000,
} as const;

/** Kinds of inode. */
export type InodeType = keyof typeof S_IF;

/** `file_type` of a directory entry. */
export const DIRENT_TYPE: Readonly<Record<InodeType, number>> = {
  file: 1,
  directory: 2,
  character: 3,
  block: 4,
  fifo: 5,
  socket: 6,
  symlink: 7,
};

/** The superblock, at byte 1024. */
export const superblock = struct('ext4_super_block', 1024, {
  s_inodes_count: u32,
  s_blocks_count_lo: u32,
  s_r_blocks_count_lo: u32,
  s_free_blocks_count_lo: u32,
  s_free_inodes_count: u32,
  s_first_data_block: u32,
  s_log_block_size: u32,
  s_log_cluster_size: u32,
  s_blocks_per_group: u32,
  s_clusters_per_group: u32,
  s_inodes_per_group: u32,
  s_mtime: u32,
  s_wtime: u32,
  s_mnt_count: u16,
  s_max_mnt_count: u16,
  s_magic: u16,
  s_state: u16,
  s_errors: u16,
  s_minor_rev_level: u16,
  s_lastcheck: u32,
  s_checkinterval: u32,
  s_creator_os: u32,
  s_rev_level: u32,
  s_def_resuid: u16,
  s_def_resgid: u16,
  s_first_ino: u32,
  s_inode_size: u16,
  s_block_group_nr: u16,
  s_feature_compat: u32,
  s_feature_incompat: u32,
  s_feature_ro_compat: u32,
  s_uuid: bytes(16),
  s_volume_name: text(16),
  s_last_mounted: text(64),
  s_algorithm_usage_bitmap: u32,
  s_prealloc_blocks: u8,
  s_prealloc_dir_blocks: u8,
  s_reserved_gdt_blocks: u16,
  s_journal_uuid: bytes(16),
  s_journal_inum: u32,
  s_journal_dev: u32,
  s_last_orphan: u32,
  s_hash_seed: bytes(16),
  s_def_hash_version: u8,
  s_jnl_backup_type: u8,
  s_desc_size: u16,
  s_default_mount_opts: u32,
  s_first_meta_bg: u32,
  s_mkfs_time: u32,
  s_jnl_blocks: array(u32, 17),
  s_blocks_count_hi: u32,
  s_r_blocks_count_hi: u32,
  s_free_blocks_count_hi: u32,
  s_min_extra_isize: u16,
  s_want_extra_isize: u16,
  s_flags: u32,
  s_raid_stride: u16,
  s_mmp_interval: u16,
  s_mmp_block: u64,
  s_raid_stripe_width: u32,
  s_log_groups_per_flex: u8,
  s_checksum_type: u8,
  s_reserved_pad: u16,
  s_kbytes_written: u64,
  s_snapshot_fields: reserved(20),
  s_error_fields: reserved(108),
  s_mount_opts: text(64),
  s_usr_quota_inum: u32,
  s_grp_quota_inum: u32,
  s_overhead_clusters: u32,
  s_backup_bgs: array(u32, 2),
  s_encrypt_fields: reserved(20),
  s_lpf_ino: u32,
  s_prj_quota_inum: u32,
  s_checksum_seed: u32,
  s_reserved: reserved(98 * 4),
  s_checksum: u32,
});

/** A group descriptor without the `64bit` feature: 32 bytes. */
export const groupDescriptor = struct('ext4_group_desc', 32, {
  bg_block_bitmap_lo: u32,
  bg_inode_bitmap_lo: u32,
  bg_inode_table_lo: u32,
  bg_free_blocks_count_lo: u16,
  bg_free_inodes_count_lo: u16,
  bg_used_dirs_count_lo: u16,
  bg_flags: u16,
  bg_exclude_bitmap_lo: u32,
  bg_block_bitmap_csum_lo: u16,
  bg_inode_bitmap_csum_lo: u16,
  bg_itable_unused_lo: u16,
  bg_checksum: u16,
});

/** An inode up to the end of its extra fields (`i_extra_isize` 32); extended attributes follow in the same 256 bytes. */
export const inodeStruct = struct('ext4_inode', 160, {
  i_mode: u16,
  i_uid_lo: u16,
  i_size_lo: u32,
  i_atime: u32,
  i_ctime: u32,
  i_mtime: u32,
  i_dtime: u32,
  i_gid_lo: u16,
  i_links_count: u16,
  i_blocks_lo: u32,
  i_flags: u32,
  i_version: u32,
  i_block: bytes(I_BLOCK_SIZE),
  i_generation: u32,
  i_file_acl_lo: u32,
  i_size_high: u32,
  i_obso_faddr: u32,
  i_blocks_high: u16,
  i_file_acl_high: u16,
  i_uid_high: u16,
  i_gid_high: u16,
  i_checksum_lo: u16,
  i_reserved: u16,
  i_extra_isize: u16,
  i_checksum_hi: u16,
  i_ctime_extra: u32,
  i_mtime_extra: u32,
  i_atime_extra: u32,
  i_crtime: u32,
  i_crtime_extra: u32,
  i_version_hi: u32,
  i_projid: u32,
});

/** Head of an extent tree node, in `i_block` or at the start of a block. */
export const extentHeader = struct('ext4_extent_header', 12, {
  eh_magic: u16,
  eh_entries: u16,
  eh_max: u16,
  eh_depth: u16,
  eh_generation: u32,
});

/** A leaf entry of an extent tree; `ee_len` above 32768 marks an unwritten extent. */
export const extentLeaf = struct('ext4_extent', 12, { ee_block: u32, ee_len: u16, ee_start_hi: u16, ee_start_lo: u32 });

/** An inner entry of an extent tree. */
export const extentIndex = struct('ext4_extent_idx', 12, {
  ei_block: u32,
  ei_leaf_lo: u32,
  ei_leaf_hi: u16,
  ei_unused: u16,
});

/** Head of a block of extended attributes. */
export const xattrHeader = struct('ext4_xattr_header', 32, {
  h_magic: u32,
  h_refcount: u32,
  h_blocks: u32,
  h_hash: u32,
  h_checksum: u32,
  h_reserved: reserved(12),
});

/** An extended attribute's entry; its name follows, padded to 4 bytes. */
export const xattrEntry = struct('ext4_xattr_entry', 16, {
  e_name_len: u8,
  e_name_index: u8,
  e_value_offs: u16,
  e_value_inum: u32,
  e_value_size: u32,
  e_hash: u32,
});

/** Head of a directory entry; the name follows, padded to 4 bytes. */
export const direntHeader = struct('ext4_dir_entry_2', 8, { inode: u32, rec_len: u16, name_len: u8, file_type: u8 });

/** The description of a directory's index in its root, after the entries `.` and `..`. */
export const indexRootInfo = struct('dx_root_info', 8, {
  reserved_zero: u32,
  hash_version: u8,
  info_length: u8,
  indirect_levels: u8,
  unused_flags: u8,
});

/** An entry of a directory's index: names of this hash and above lie in this block of the directory. */
export const indexEntry = struct('dx_entry', 8, { hash: u32, block: u32 });

/** The fields in place of the hash in the first entry of an index node. */
export const indexCountLimit = struct('dx_countlimit', 4, { limit: u16, count: u16 });
