/** The blocks that a commit writes: where each goes and how to encode it, decided before any of them exists. */
import { NumberList, orderOf } from '../bytes/radix-sort.ts';

/** The encodings of a block. */
export const CONTENT = {
  /** All names of a directory. */
  names: 0,
  /** Names `from` to `to` of the plan: a leaf of an indexed directory. */
  leaf: 1,
  /** Block `from` of a directory's index. */
  index: 2,
  /** The text of a symlink. */
  symlink: 3,
  /** Extended attributes. */
  xattrs: 4,
  /** Node `from` of an extent tree. */
  extents: 5,
} as const;

/** One block of a {@link CommitPlan}. */
export interface PlannedBlock {
  /** Number on the device. */
  readonly block: number;
  /** One of {@link CONTENT}. */
  readonly content: number;
  /** The inode that it belongs to. */
  readonly inode: number;
  readonly from: number;
  readonly to: number;
}

/** Blocks by the million, 20 bytes each. */
export class CommitPlan {
  /** Names (references) of the leaves, in the order of their hashes. */
  readonly names = new NumberList();
  readonly #blocks = new NumberList();
  readonly #contents = new NumberList();
  readonly #inodes = new NumberList();
  readonly #from = new NumberList();
  readonly #to = new NumberList();

  /** Adds a block. */
  add({ block, content, inode, from, to }: PlannedBlock): void {
    this.#blocks.push(block);
    this.#contents.push(content);
    this.#inodes.push(inode);
    this.#from.push(from);
    this.#to.push(to);
  }

  /** The blocks in the order of the device. */
  *ascending(): Generator<PlannedBlock> {
    for (const i of orderOf(this.#blocks.values)) {
      yield {
        block: this.#blocks.at(i),
        content: this.#contents.at(i),
        inode: this.#inodes.at(i),
        from: this.#from.at(i),
        to: this.#to.at(i),
      };
    }
  }
}
