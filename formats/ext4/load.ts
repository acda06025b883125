/**
 * Rebuilds the state of an image from a device that accel wrote, by its metadata alone: the next layer's commit is then
 * the same, byte for byte, as if all layers had been applied in one run. So the layers that two images share need to be
 * converted once.
 */
import { AccelError } from '../../base/error.ts';
import type { GroupState } from './allocator.ts';
import { decodeDirectoryBlock, decodeDirectoryLayout } from './directory.ts';
import { decodeExtentNode, type Extent } from './extents.ts';
import type { Geometry } from './geometry.ts';
import { EMPTY_LAYER, Ext4Image, type Ext4ImageOptions } from './image.ts';
import { Inode, type RawInode } from './inode.ts';
import {
  BLOCK_SIZE,
  DIRENT_TYPE,
  GROUP_FLAG,
  groupDescriptor,
  INODE_FLAG,
  INODES_PER_GROUP,
  ROOT_INODE,
  SUPERBLOCK_OFFSET,
  superblock,
} from './layout.ts';
import { type BlockDevice, decodeSuperblock, Ext4Reader, readWithin } from './reader.ts';
import { FILE_SYSTEM_UUID } from './superblock.ts';
import { type EncodedXattrs, encodeXattrs } from './xattr.ts';

/**
 * Reads the state from a device. AccelError `ext4-invalid` when accel did not make the file system, or it is damaged;
 * `maxFiles` bounds what is read as it bounds what is applied.
 */
export async function loadImage(
  device: BlockDevice,
  options: Pick<Ext4ImageOptions, 'maxFiles'> = {},
): Promise<Ext4Image> {
  const raw = decodeSuperblock(await readWithin(device, SUPERBLOCK_OFFSET, superblock.size));
  if (!Buffer.from(raw.s_uuid).equals(FILE_SYSTEM_UUID)) {
    throw new AccelError('ext4-invalid', 'the file system was not made by accel', {
      expected: Buffer.from(FILE_SYSTEM_UUID).toString('hex'),
      found: Buffer.from(raw.s_uuid).toString('hex'),
    });
  }
  if (raw.s_blocks_count_lo * BLOCK_SIZE !== device.size) throw damaged('its size', device.size, raw.s_blocks_count_lo);
  const image = new Ext4Image({ ...options, virtualSize: device.size });
  const { geometry } = image.allocator;
  const { groups, nextInode } = await loadGroups(device, geometry);
  const nextBlock = (raw.s_kbytes_written * 1024) / BLOCK_SIZE;
  if (!Number.isInteger(nextBlock) || nextBlock < geometry.firstDataBlock || nextBlock > geometry.blocks)
    throw damaged('the end of its data', `block ${geometry.firstDataBlock} to ${geometry.blocks}`, nextBlock);
  image.allocator.restore({ nextBlock, nextInode }, groups);
  image.restore(await new TreeLoader(device, await Ext4Reader.open(device), options.maxFiles).load());
  return image;
}

async function loadGroups(
  device: BlockDevice,
  geometry: Geometry,
): Promise<{ groups: GroupState[]; nextInode: number }> {
  const descriptors = await readWithin(device, BLOCK_SIZE, geometry.descriptorBlocks * BLOCK_SIZE);
  const groups: GroupState[] = [];
  let nextInode = 1;
  for (let index = 0; index < geometry.groups; index++) {
    const raw = groupDescriptor.read(descriptors, index * groupDescriptor.size);
    const bitmap = (flag: number, block: number): Promise<Uint8Array> | undefined =>
      (raw.bg_flags & flag) === 0 ? readWithin(device, block * BLOCK_SIZE, BLOCK_SIZE) : undefined;
    const used = INODES_PER_GROUP - raw.bg_itable_unused_lo;
    if (used > 0) nextInode = index * INODES_PER_GROUP + used + 1;
    groups.push({
      freeBlocks: raw.bg_free_blocks_count_lo,
      freeInodes: raw.bg_free_inodes_count_lo,
      directories: raw.bg_used_dirs_count_lo,
      blockBitmap: await bitmap(GROUP_FLAG.blockUninit, raw.bg_block_bitmap_lo),
      inodeBitmap: await bitmap(GROUP_FLAG.inodeUninit, raw.bg_inode_bitmap_lo),
    });
  }
  return { groups, nextInode };
}

/** Reads the tree from the root down, breadth first; nothing is read twice. */
class TreeLoader {
  readonly #device: BlockDevice;
  readonly #reader: Ext4Reader;
  readonly #maxFiles: number;
  readonly #inodes = new Map<number, Inode>();

  constructor(device: BlockDevice, reader: Ext4Reader, maxFiles = Number.POSITIVE_INFINITY) {
    this.#device = device;
    this.#reader = reader;
    this.#maxFiles = maxFiles;
  }

  async load(): Promise<Iterable<Inode>> {
    const root = await this.#inode(ROOT_INODE, undefined);
    const pending = [root.inode];
    const raws = new Map([[root.inode, root.raw]]);
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      const raw = raws.get(at)!;
      raws.delete(at);
      for (const child of await this.#directory(at, raw)) {
        pending.push(child.inode);
        raws.set(child.inode, child.raw);
      }
    }
    return this.#inodes.values();
  }

  /** Fills a directory; returns its child directories. */
  async #directory(inode: Inode, raw: RawInode): Promise<{ inode: Inode; raw: RawInode }[]> {
    const directory = inode.directory!;
    const blocks: Uint8Array[] = [];
    // Blocks for all of it, and no more: a size alone may claim terabytes of nothing.
    const covered = inode.extents.reduce((sum, extent) => sum + extent.count, 0) * BLOCK_SIZE;
    if (raw.size !== covered || covered === 0) throw damaged(`directory ${inode.number}`, covered, raw.size);
    for await (const piece of this.#reader.content(raw)) {
      for (let at = 0; at < piece.length; at += BLOCK_SIZE) blocks.push(piece.subarray(at, at + BLOCK_SIZE));
    }
    directory.layout = decodeDirectoryLayout(blocks, (raw.flags & INODE_FLAG.index) !== 0);
    const below: { inode: Inode; raw: RawInode }[] = [];
    for (const block of this.#nameBlocks(blocks, inode)) {
      for (const entry of decodeDirectoryBlock(block, { inode: inode.number })) {
        if (entry.name === '.' || entry.name === '..') continue;
        const known = this.#inodes.get(entry.inode);
        if (known !== undefined && (known.directory !== undefined || entry.type === DIRENT_TYPE.directory)) {
          throw new AccelError('ext4-invalid', 'a directory stands in the tree twice', {
            where: { inode: entry.inode },
          });
        }
        const child = known === undefined ? await this.#inode(entry.inode, inode) : { inode: known, raw: undefined };
        child.inode.names++;
        directory.children.set(entry.name, { inode: child.inode, layer: EMPTY_LAYER });
        if (child.inode.directory === undefined || child.raw === undefined) continue;
        directory.subdirectories++;
        below.push({ inode: child.inode, raw: child.raw });
      }
    }
    return below;
  }

  /** The blocks that hold names: those of an index would read as empty, but cost a look. */
  #nameBlocks(blocks: readonly Uint8Array[], inode: Inode): readonly Uint8Array[] {
    const layout = inode.directory!.layout!;
    if (!layout.indexed) return blocks;
    return layout.leaves.map((leaf) => {
      const block = blocks[leaf.block];
      if (block === undefined) throw damaged(`the index of directory ${inode.number}`, blocks.length, leaf.block);
      return block;
    });
  }

  async #inode(number: number, parent: Inode | undefined): Promise<{ inode: Inode; raw: RawInode }> {
    if (this.#inodes.size > this.#maxFiles) {
      throw new AccelError('limit-exceeded', 'the image holds too many files', {
        expected: `at most ${this.#maxFiles}`,
      });
    }
    const raw = await this.#reader.inode(number);
    const inode = new Inode(number, raw.type, EMPTY_LAYER, raw, parent);
    inode.size = raw.size;
    inode.deviceMajor = raw.deviceMajor;
    inode.deviceMinor = raw.deviceMinor;
    inode.xattrBlock = raw.xattrBlock;
    if (raw.type === 'symlink') inode.target = await this.#reader.target(raw);
    const xattrs = await this.#reader.xattrs(raw);
    if (xattrs.size > 0) {
      inode.xattrs = xattrs;
      inode.encodedXattrs = encodedAgain(xattrs, number);
    }
    if (inode.hasExtents) await this.#extents(inode, raw);
    this.#inodes.set(number, inode);
    return { inode, raw };
  }

  /** The extents and, of a deep tree, its blocks in the order in which the writer fills them: leaves first. */
  async #extents(inode: Inode, raw: RawInode): Promise<void> {
    const where = { inode: inode.number };
    const extents = inode.extents as Extent[];
    // The reader sees to it that the tree is one: what follows may walk it without bounds of its own.
    for (const { logical, physical, count } of await this.#reader.extents(raw))
      extents.push({ logical, physical, count });
    const levels: number[][] = [];
    let nodes = [decodeExtentNode(raw.iBlock, where)];
    while (nodes.some((node) => node.depth > 0)) {
      const blocks = nodes.flatMap((node) => node.children);
      levels.unshift(blocks);
      nodes = await Promise.all(
        blocks.map(async (block) =>
          decodeExtentNode(await readWithin(this.#device, block * BLOCK_SIZE, BLOCK_SIZE), where),
        ),
      );
    }
    if (levels.length === 0) return;
    inode.extentBlocks = levels.flat();
    inode.extentRoot = raw.iBlock;
  }
}

/** Attributes as the next commit writes them. What accel would not have written was not written by accel. */
function encodedAgain(xattrs: ReadonlyMap<string, Uint8Array>, inode: number): EncodedXattrs {
  try {
    return encodeXattrs(xattrs);
  } catch (cause) {
    throw new AccelError('ext4-invalid', 'the file system is damaged: the extended attributes of a file', {
      where: { inode },
      cause,
    });
  }
}

function damaged(what: string, expected: string | number, found: string | number): AccelError {
  return new AccelError('ext4-invalid', `the file system is damaged: ${what}`, { expected, found });
}
