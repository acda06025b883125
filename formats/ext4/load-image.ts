/**
 * Rebuilds the state of an image from a device that accel wrote, by its metadata alone: the next layer's commit is then
 * the same, byte for byte, as if all layers had been applied in one run. So the layers that two images share need to be
 * converted once.
 */
import { AccelError } from '../../base/error.ts';
import type { GroupState } from './allocator.ts';
import { decodeDirectoryBlock } from './directory-entries.ts';
import { decodeIndex } from './directory-index.ts';
import { EMPTY_LAYER, Ext4Image, type Ext4ImageOptions } from './ext4-image.ts';
import { decodeExtentNode } from './extents.ts';
import { type Geometry, geometryOf } from './geometry.ts';
import { encodedTime, type RawInode } from './inode.ts';
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
import { FIELD } from './state/inode-table.ts';
import { FIXED_KEY } from './state/keyed-hash.ts';
import { MemoryBudget } from './state/memory-budget.ts';
import { TreeState } from './state/tree-state.ts';
import { FILE_SYSTEM_UUID } from './superblock.ts';

/**
 * Reads the state from a device. AccelError `ext4-invalid` when accel did not make the file system, or it is damaged;
 * `maxFiles` bounds what is read as it bounds what is applied.
 */
export async function loadImage(
  device: BlockDevice,
  options: Omit<Ext4ImageOptions, 'virtualSize'> = {},
): Promise<Ext4Image> {
  const raw = decodeSuperblock(await readWithin(device, SUPERBLOCK_OFFSET, superblock.size));
  if (!Buffer.from(raw.s_uuid).equals(FILE_SYSTEM_UUID)) {
    throw new AccelError('ext4-invalid', 'the file system was not made by accel', {
      expected: Buffer.from(FILE_SYSTEM_UUID).toString('hex'),
      found: Buffer.from(raw.s_uuid).toString('hex'),
    });
  }
  if (raw.s_blocks_count_lo * BLOCK_SIZE !== device.size) throw damaged('its size', device.size, raw.s_blocks_count_lo);
  const geometry = geometryOf(device.size);
  const { groups, nextInode } = await loadGroups(device, geometry);
  const nextBlock = (raw.s_kbytes_written * 1024) / BLOCK_SIZE;
  if (!Number.isInteger(nextBlock) || nextBlock < geometry.firstDataBlock || nextBlock > geometry.blocks)
    throw damaged('the end of its data', `block ${geometry.firstDataBlock} to ${geometry.blocks}`, nextBlock);
  const memory = options.memory ?? new MemoryBudget();
  const state = new TreeState(geometry, memory, options.hashKey ?? FIXED_KEY);
  state.allocator.restore({ nextBlock, nextInode }, groups);
  const image = new Ext4Image({ ...options, virtualSize: device.size });
  image.restore(state, await new TreeLoader(device, await Ext4Reader.open(device), state, options.maxFiles).load());
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

/** Reads the tree from the root down into a state; nothing is read twice. */
class TreeLoader {
  readonly #device: BlockDevice;
  readonly #reader: Ext4Reader;
  readonly #state: TreeState;
  readonly #maxFiles: number;
  #files = 0;

  constructor(device: BlockDevice, reader: Ext4Reader, state: TreeState, maxFiles = Number.POSITIVE_INFINITY) {
    this.#device = device;
    this.#reader = reader;
    this.#state = state;
    this.#maxFiles = maxFiles;
  }

  /** Answers how many inodes there are. */
  async load(): Promise<number> {
    const root = await this.#inode(ROOT_INODE, ROOT_INODE);
    if (root.type !== 'directory') throw new AccelError('ext4-invalid', 'the file system has no root directory');
    const pending = [ROOT_INODE];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) await this.#directory(at, pending);
    return this.#files;
  }

  /** Fills a directory; adds its child directories to `pending`. */
  async #directory(directory: number, pending: number[]): Promise<void> {
    const { inodes, names, extents, indexes } = this.#state;
    const raw = await this.#reader.inode(directory);
    const blocks: Uint8Array[] = [];
    // Blocks for all of it, and no more: a size alone may claim terabytes of nothing.
    const covered = extents.blocks(directory, FIELD.firstExtent) * BLOCK_SIZE;
    if (raw.size !== covered || covered === 0) throw damaged(`directory ${directory}`, covered, raw.size);
    for await (const piece of this.#reader.content(raw)) {
      for (let at = 0; at < piece.length; at += BLOCK_SIZE) blocks.push(piece.subarray(at, at + BLOCK_SIZE));
    }
    if ((raw.flags & INODE_FLAG.index) !== 0) indexes.set(directory, decodeIndex(blocks));
    for (const block of this.#nameBlocks(blocks, directory)) {
      for (const entry of decodeDirectoryBlock(block, { inode: directory })) {
        if (entry.name === '.' || entry.name === '..') continue;
        const isKnown = inodes.has(entry.inode);
        if (isKnown && (inodes.isDirectory(entry.inode) || entry.type === DIRENT_TYPE.directory)) {
          throw new AccelError('ext4-invalid', 'a directory exists in the tree twice', {
            where: { inode: entry.inode },
          });
        }
        if (!isKnown) await this.#inode(entry.inode, directory);
        inodes.set(entry.inode, FIELD.names, inodes.get(entry.inode, FIELD.names) + 1);
        if (names.find(directory, entry.name) !== 0)
          throw damaged(`directory ${directory}`, 'each name once', 'one twice');
        names.add(directory, entry.name, entry.inode, EMPTY_LAYER);
        if (!inodes.isDirectory(entry.inode)) continue;
        inodes.set(directory, FIELD.subdirectories, inodes.get(directory, FIELD.subdirectories) + 1);
        pending.push(entry.inode);
      }
    }
  }

  /** The blocks that hold names: those of an index would read as empty, but cost a look. */
  #nameBlocks(blocks: readonly Uint8Array[], directory: number): readonly Uint8Array[] {
    const index = this.#state.indexes.get(directory);
    if (index === undefined) return blocks;
    return Array.from({ length: index.leaves.length / 2 }, (_, leaf) => {
      const block = blocks[index.leaves[2 * leaf + 1]!];
      if (block === undefined)
        throw damaged(`the index of directory ${directory}`, blocks.length, index.leaves[2 * leaf + 1]!);
      return block;
    });
  }

  async #inode(number: number, parent: number): Promise<RawInode> {
    if (this.#files > this.#maxFiles) {
      throw new AccelError('limit-exceeded', 'the image holds too many files', {
        expected: `at most ${this.#maxFiles}`,
      });
    }
    this.#files++;
    const { inodes, texts } = this.#state;
    const raw = await this.#reader.inode(number);
    const target = raw.type === 'symlink' ? await this.#reader.target(raw) : '';
    const xattrs = await this.#reader.xattrs(raw);
    const { seconds, extra } = encodedTime(raw.mtime);
    inodes.add(number, raw.type, EMPTY_LAYER);
    inodes.setPermissions(number, raw.mode);
    inodes.set(number, FIELD.uid, raw.uid);
    inodes.set(number, FIELD.gid, raw.gid);
    inodes.set(number, FIELD.mtime, seconds);
    inodes.set(number, FIELD.mtimeExtra, extra);
    inodes.setSize(number, raw.size);
    inodes.set(number, FIELD.xattrBlock, raw.xattrBlock);
    inodes.set(number, FIELD.xattrs, this.#xattrSet(xattrs, number));
    if (raw.type === 'directory') inodes.set(number, FIELD.payload, parent);
    else if (raw.type === 'symlink') {
      if (target.length !== raw.size) throw damaged(`symlink ${number}`, raw.size, target.length);
      if (target.length > 0) inodes.set(number, FIELD.payload, texts.add(target));
    } else inodes.set(number, FIELD.payload, ((raw.deviceMajor << 20) | raw.deviceMinor) >>> 0);
    if (inodes.hasExtents(number)) await this.#extents(raw);
    return raw;
  }

  /** Attributes as the next commit writes them. Any other form was not written by accel. */
  #xattrSet(xattrs: ReadonlyMap<string, Uint8Array>, inode: number): number {
    try {
      return this.#state.xattrs.add(xattrs);
    } catch (cause) {
      if (cause instanceof AccelError && cause.code === 'limit-exceeded') throw cause;
      throw new AccelError('ext4-invalid', 'the file system is damaged: the extended attributes of a file', {
        where: { inode },
        cause,
      });
    }
  }

  /** The extents and, of a deep tree, its blocks in the order in which the writer fills them: leaves first. */
  async #extents(raw: RawInode): Promise<void> {
    const { extents } = this.#state;
    const where = { inode: raw.number };
    // The reader sees to it that the tree is one: what follows may walk it without bounds of its own.
    for (const extent of await this.#reader.extents(raw)) extents.push(raw.number, FIELD.firstExtent, extent);
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
    levels.flat().forEach((physical, logical) => {
      extents.append(raw.number, FIELD.firstTreeRun, { logical, physical, count: 1 });
    });
  }
}

function damaged(what: string, expected: string | number, found: string | number): AccelError {
  return new AccelError('ext4-invalid', `the file system is damaged: ${what}`, { expected, found });
}
