/** The files that a comparison of trees met, a million of them in some 30 bytes each. */
import { NumberList, orderOf } from '../formats/bytes/radix-sort.ts';
import type { SourceNode } from './source-tree/node.ts';
import { TextPool } from './source-tree/text-pool.ts';

/** Positions on a device past this one are of no file: damage, or no block. */
const LAST_BLOCK = 0xffff_ffff;

/** A path to what is no directory, on both sides. */
export interface MetFile {
  /** Path of the directory that holds it, with a slash at its end. */
  readonly below: string;
  readonly name: string;
  readonly node: SourceNode;
  /** Its number on the device. */
  readonly inode: number;
}

/** Paths by row, in the order in which they were met. */
export class MetFiles {
  readonly #texts = new TextPool();
  readonly #names = new NumberList();
  /** The directories that hold them, and for each path the number of its directory. */
  readonly #directories: string[] = [];
  readonly #below = new NumberList();
  readonly #nodes = new NumberList();
  readonly #inodes = new NumberList();

  /** Adds a path and answers its row. */
  add({ below, name, node, inode }: MetFile): number {
    // A walk comes back to a directory after those below it: then it is in the list once more.
    if (this.#directories.at(-1) !== below) this.#directories.push(below);
    this.#below.push(this.#directories.length - 1);
    this.#names.push(this.#texts.add(name));
    this.#nodes.push(node.id);
    this.#inodes.push(inode);
    return this.#names.count - 1;
  }

  /** The path of a row. */
  path(row: number): string {
    return this.#directories[this.#below.at(row)]! + this.#texts.text(this.#names.at(row));
  }

  /** Number of the source's inode. */
  node(row: number): number {
    return this.#nodes.at(row);
  }

  /** Number of the device's inode. */
  inode(row: number): number {
    return this.#inodes.at(row);
  }
}

/** A file whose content is to be compared. */
export interface ContentTask {
  /** In the {@link MetFiles}. */
  readonly row: number;
  /** Bytes. */
  readonly size: number;
  /** The first block of the device that it fills. */
  readonly block: number;
}

/** The files whose content is to be compared. */
export class ContentTasks {
  readonly files: MetFiles;
  readonly #rows = new NumberList();
  readonly #blocks = new NumberList();
  #bytes = 0;

  constructor(files: MetFiles) {
    this.files = files;
  }

  /** Number of files. */
  get count(): number {
    return this.#rows.count;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a file. */
  add({ row, size, block }: ContentTask): void {
    this.#rows.push(row);
    this.#blocks.push(Math.min(block, LAST_BLOCK));
    this.#bytes += size;
  }

  /** The rows of all files in the order of the device. */
  *inDeviceOrder(): Generator<number> {
    for (const at of orderOf(this.#blocks.values)) yield this.#rows.at(at);
  }
}
