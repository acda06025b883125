/** Writes an inode of the state into its 256 bytes of the inode table. */
import { viewOf } from '../bytes/struct.ts';
import { extentTreeRoot, ROOT_ENTRIES } from './extents.ts';
import { EXTENT_MAGIC, extentHeader, extentLeaf, INODE_FLAG, inodeStruct } from './layout.ts';
import { FIELD, recordAt } from './state/inode-table.ts';
import type { TreeState } from './state/tree-state.ts';

const at = inodeStruct.offsets;
const header = extentHeader.offsets;
const leaf = extentLeaf.offsets;
const EXTRA_ISIZE = inodeStruct.size - 128;
const SECTORS_PER_BLOCK = 8;
const NOTHING = new Uint8Array(0);

/** Writes the 256 bytes of `inode` at `offset` of an inode table block, in `view`, that holds zeros there. */
export function encodeInode(state: TreeState, inode: number, view: DataView, offset: number): void {
  // Written field by field: a layer may change a million inodes, and the table-driven writer is ten times slower.
  const { inodes, extents } = state;
  const page = inodes.page(inode);
  const record = recordAt(inode);
  const uid = page[record + FIELD.uid]!;
  const gid = page[record + FIELD.gid]!;
  const sectors = blocksOf(state, inode) * SECTORS_PER_BLOCK;
  const hasExtents = inodes.hasExtents(inode);
  view.setUint16(offset + at.i_mode, page[record + FIELD.mode]! & 0xffff, true);
  view.setUint16(offset + at.i_uid_lo, uid & 0xffff, true);
  view.setUint16(offset + at.i_uid_high, uid >>> 16, true);
  view.setUint16(offset + at.i_gid_lo, gid & 0xffff, true);
  view.setUint16(offset + at.i_gid_high, gid >>> 16, true);
  view.setUint32(offset + at.i_size_lo, page[record + FIELD.sizeLow]!, true);
  view.setUint32(offset + at.i_size_high, page[record + FIELD.sizeHigh]!, true);
  view.setUint16(offset + at.i_links_count, inodes.links(inode), true);
  view.setUint32(offset + at.i_blocks_lo, sectors >>> 0, true);
  view.setUint16(offset + at.i_blocks_high, Math.floor(sectors / 0x1_0000_0000), true);
  view.setUint32(offset + at.i_flags, flagsOf(state, inode, hasExtents), true);
  view.setUint32(offset + at.i_file_acl_lo, page[record + FIELD.xattrBlock]!, true);
  view.setUint16(offset + at.i_extra_isize, EXTRA_ISIZE, true);
  // Access, change, modification and creation time are one: the tar's. Nothing else is known, and no clock is asked.
  const seconds = page[record + FIELD.mtime]!;
  const extra = page[record + FIELD.mtimeExtra]!;
  view.setUint32(offset + at.i_atime, seconds, true);
  view.setUint32(offset + at.i_ctime, seconds, true);
  view.setUint32(offset + at.i_mtime, seconds, true);
  view.setUint32(offset + at.i_crtime, seconds, true);
  view.setUint32(offset + at.i_atime_extra, extra, true);
  view.setUint32(offset + at.i_ctime_extra, extra, true);
  view.setUint32(offset + at.i_mtime_extra, extra, true);
  view.setUint32(offset + at.i_crtime_extra, extra, true);
  const blocks = extents.blocksInPlace(inode, FIELD.firstExtent);
  if (blocks > 0 && hasExtents) {
    // The root of nearly every tree: one extent from the first block on.
    const root = offset + at.i_block;
    view.setUint16(root + header.eh_magic, EXTENT_MAGIC, true);
    view.setUint16(root + header.eh_entries, 1, true);
    view.setUint16(root + header.eh_max, ROOT_ENTRIES, true);
    view.setUint16(root + extentHeader.size + leaf.ee_len, blocks, true);
    view.setUint32(root + extentHeader.size + leaf.ee_start_lo, page[record + FIELD.firstExtent]!, true);
  } else {
    bytesOf(view).set(iBlockOf(state, inode), offset + at.i_block);
  }
  const xattrs = page[record + FIELD.xattrs]!;
  if (xattrs === 0) return;
  const { inline } = state.xattrs.encoded(xattrs);
  if (inline !== undefined) bytesOf(view).set(inline, offset + inodeStruct.size);
}

function bytesOf({ buffer, byteOffset, byteLength }: DataView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Blocks that count into `i_blocks`: content, extent tree, attributes. */
function blocksOf({ inodes, extents }: TreeState, inode: number): number {
  const own = extents.blocks(inode, FIELD.firstExtent) + extents.blocks(inode, FIELD.firstTreeRun);
  return own + (inodes.get(inode, FIELD.xattrBlock) === 0 ? 0 : 1);
}

function flagsOf({ inodes, indexes }: TreeState, inode: number, hasExtents: boolean): number {
  const flags = hasExtents ? INODE_FLAG.extents : 0;
  return inodes.isDirectory(inode) && indexes.has(inode) ? flags | INODE_FLAG.index : flags;
}

function iBlockOf(state: TreeState, inode: number): Uint8Array {
  const { inodes, extents } = state;
  if (inodes.hasExtents(inode)) {
    return extentTreeRoot({
      extents: extents.of(inode, FIELD.firstExtent),
      blocks: blockNumbers(extents.of(inode, FIELD.firstTreeRun)),
    });
  }
  const type = inodes.type(inode);
  if (type === 'symlink') return state.target(inode);
  if (type !== 'character' && type !== 'block') return NOTHING;
  const device = inodes.get(inode, FIELD.payload);
  return encodeDevice(device >>> 20, device & 0xf_ffff);
}

/** The numbers of the blocks in runs, in the order of the runs. */
export function blockNumbers(runs: readonly { readonly physical: number; readonly count: number }[]): number[] {
  return runs.flatMap(({ physical, count }) => Array.from({ length: count }, (_, i) => physical + i));
}

/** Device numbers as the kernel keeps them in `i_block`: small ones in the old form, others in the second word. */
function encodeDevice(major: number, minor: number): Uint8Array {
  const out = new Uint8Array(8);
  const view = viewOf(out);
  if (major < 256 && minor < 256) view.setUint32(0, (major << 8) | minor, true);
  else view.setUint32(4, ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, true);
  return out;
}
