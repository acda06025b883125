/** The inodes of an image: 72 bytes each, in pages that exist while one of their inodes does. */
import { AccelError } from '../../../base/error.ts';
import { I_BLOCK_SIZE, type InodeType, LINK_MAX, S_IF, S_IFMT } from '../layout.ts';
import type { MemoryBudget } from './memory-budget.ts';

/** The words of an inode's record. */
export const FIELD = {
  /** `i_mode`, and the layer that made the inode, plus one, above it. */
  mode: 0,
  uid: 1,
  gid: 2,
  /** Modification time as ext4 stores it: seconds, then epoch and nanoseconds. */
  mtime: 3,
  mtimeExtra: 4,
  /** Names that refer to the inode; `.` and `..` do not count. */
  names: 5,
  /** Bytes of content. */
  sizeLow: 6,
  sizeHigh: 7,
  /** Number of its attributes in the {@link XattrSets}, and their block on the device; 0: none. */
  xattrs: 8,
  xattrBlock: 9,
  /** First and last extent of the content, or the only one itself: see extent-lists.ts. */
  firstExtent: 10,
  lastExtent: 11,
  /** First and last run of the blocks below the root of the extent tree. */
  firstTreeRun: 12,
  lastTreeRun: 13,
  /** A directory's parent, a symlink's text, a device's numbers (12 bits of major, 20 of minor). */
  payload: 14,
  /** A directory's first and last entry in the order they were added. */
  firstEntry: 15,
  lastEntry: 16,
  /** A directory's child directories. */
  subdirectories: 17,
} as const;

const WORDS = 18;
const PAGE_BITS = 10;
const PAGE_INODES = 1 << PAGE_BITS;
const PAGE_MASK = PAGE_INODES - 1;
/** Lowest bit of the type in `i_mode`. */
const TYPE_SHIFT = 12;
const PAGE_BYTES = PAGE_INODES * WORDS * 4;
/** Types by the bits of `i_mode` that have them, shifted. */
const TYPES: readonly (InodeType | undefined)[] = Array.from(
  { length: 16 },
  (_, bits) => (Object.entries(S_IF) as [InodeType, number][]).find(([, value]) => value === bits << TYPE_SHIFT)?.[0],
);

interface Page {
  readonly words: Uint32Array;
  live: number;
}

/** Inodes by number. ext4-image.ts keeps the fields consistent with each other. */
export class InodeTable {
  readonly #memory: MemoryBudget;
  readonly #pages: (Page | undefined)[] = [];

  constructor(memory: MemoryBudget) {
    this.#memory = memory;
  }

  /** Adds an inode, its other fields zero. `layer` is -1 for what the empty file system holds. */
  add(inode: number, type: InodeType, layer: number): void {
    const number = inode >>> PAGE_BITS;
    let page = this.#pages[number];
    if (page === undefined) {
      this.#memory.take(PAGE_BYTES);
      page = { words: new Uint32Array(PAGE_INODES * WORDS), live: 0 };
      this.#pages[number] = page;
    }
    page.live++;
    page.words[recordAt(inode)] = S_IF[type] | ((layer + 1) << 16);
  }

  /** Takes an inode out. */
  delete(inode: number): void {
    const number = inode >>> PAGE_BITS;
    const page = this.#pages[number]!;
    page.live--;
    const start = recordAt(inode);
    page.words.fill(0, start, start + WORDS);
    // Numbers are never used again, so a page that empties stays empty, except for the newest one.
    if (page.live > 0 || number === this.#pages.length - 1) return;
    this.#pages[number] = undefined;
    this.#memory.give(PAGE_BYTES);
  }

  /** Whether there is an inode of this number. */
  has(inode: number): boolean {
    const page = this.#pages[inode >>> PAGE_BITS];
    return page !== undefined && page.words[recordAt(inode)] !== 0;
  }

  /** A field of an inode. */
  get(inode: number, field: number): number {
    return this.page(inode)[recordAt(inode) + field]!;
  }

  /** The page that holds an inode's record; it begins at word {@link recordAt}. Valid until the inode is deleted. */
  page(inode: number): Uint32Array {
    const page = this.#pages[inode >>> PAGE_BITS];
    if (page === undefined) throw new AccelError('internal', `inode ${inode} does not exist`);
    return page.words;
  }

  /** Sets a field of an inode. */
  set(inode: number, field: number, value: number): void {
    this.page(inode)[recordAt(inode) + field] = value;
  }

  /** The kind of file. */
  type(inode: number): InodeType {
    return TYPES[(this.get(inode, FIELD.mode) & S_IFMT) >>> TYPE_SHIFT]!;
  }

  /** Whether the inode is a directory. */
  isDirectory(inode: number): boolean {
    return (this.get(inode, FIELD.mode) & S_IFMT) === S_IF.directory;
  }

  /** Whether the inode is a symlink. */
  isSymlink(inode: number): boolean {
    return (this.get(inode, FIELD.mode) & S_IFMT) === S_IF.symlink;
  }

  /** Number of the layer that made the inode, -1 for the empty file system. */
  layer(inode: number): number {
    return (this.get(inode, FIELD.mode) >>> 16) - 1;
  }

  /** `i_mode`: type and permissions. */
  mode(inode: number): number {
    return this.get(inode, FIELD.mode) & 0xffff;
  }

  /** Sets the permissions, 0 to 0o7777. */
  setPermissions(inode: number, permissions: number): void {
    this.set(inode, FIELD.mode, (this.get(inode, FIELD.mode) & ~0o7777) | permissions);
  }

  /** Bytes of content: of a directory its blocks, of a symlink its text. */
  size(inode: number): number {
    return this.get(inode, FIELD.sizeLow) + this.get(inode, FIELD.sizeHigh) * 0x1_0000_0000;
  }

  /** Sets the size in bytes. */
  setSize(inode: number, size: number): void {
    this.set(inode, FIELD.sizeLow, size >>> 0);
    this.set(inode, FIELD.sizeHigh, Math.floor(size / 0x1_0000_0000));
  }

  /** `i_links_count`: a directory with more than 65,000 links counts 1 (feature `dir_nlink`). */
  links(inode: number): number {
    if (!this.isDirectory(inode)) return this.get(inode, FIELD.names);
    const links = 2 + this.get(inode, FIELD.subdirectories);
    return links > LINK_MAX ? 1 : links;
  }

  /** Whether a symlink's text lies in `i_block` (at most 59 bytes, one less than the field). */
  isFastSymlink(inode: number): boolean {
    return this.isSymlink(inode) && this.size(inode) < I_BLOCK_SIZE;
  }

  /** Whether `i_block` holds an extent tree: for everything with blocks of content. */
  hasExtents(inode: number): boolean {
    const type = this.get(inode, FIELD.mode) & S_IFMT;
    return type === S_IF.file || type === S_IF.directory || (type === S_IF.symlink && !this.isFastSymlink(inode));
  }
}

/** The word of its page at which the record of an inode begins. */
export function recordAt(inode: number): number {
  return (inode & PAGE_MASK) * WORDS;
}
