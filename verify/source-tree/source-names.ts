/**
 * The names of the directories of a source tree: rows of an inode, of the layer that made the name, and of its text. A hash
 * table over directory and text finds one; the names of a directory are also a ring in the order in which they were added.
 */
import { randomInt } from 'node:crypto';
import { type HashKey, keyedHash } from '../../formats/ext4/state/keyed-hash.ts';
import { NumberColumn } from './columns.ts';
import { TextPool } from './text-pool.ts';

/** Rows of a page of what only directories have. */
const DIRECTORY_PAGE_BITS = 8;
const FIRST_BUCKETS = 1 << 10;

/** See the module's comment. Rows count from 1 and are never used again. */
export class SourceNames {
  #rows = 0;
  #live = 0;
  /** Random, so that nobody can prepare names that meet in one bucket. */
  readonly #key: HashKey = [randomInt(2 ** 32), randomInt(2 ** 32)];
  /** First row of each bucket; a power of two of them. */
  #buckets = new Uint32Array(FIRST_BUCKETS);
  readonly #inBucket = new NumberColumn(Uint32Array);
  readonly #texts = new TextPool();
  readonly #text = new NumberColumn(Uint32Array);
  readonly #directory = new NumberColumn(Uint32Array);
  /** The inode; 0 once the name was removed, until its directory is listed. */
  readonly #node = new NumberColumn(Uint32Array);
  readonly #layer = new NumberColumn(Uint16Array);
  /** The row behind this one in the ring of the directory. */
  readonly #next = new NumberColumn(Uint32Array);
  /** By directory: the last row of its ring, and the names in it. */
  readonly #last = new NumberColumn(Uint32Array, DIRECTORY_PAGE_BITS);
  readonly #count = new NumberColumn(Uint32Array, DIRECTORY_PAGE_BITS);

  /** The inode under a name, 0 where the directory has no such name. */
  find(directory: number, name: string): number {
    return this.#node.get(this.#row(directory, name));
  }

  /** Adds a name that the directory does not have. */
  add(directory: number, name: string, node: number, layer: number): void {
    const row = ++this.#rows;
    this.#text.set(row, this.#texts.add(name));
    this.#directory.set(row, directory);
    this.#node.set(row, node);
    this.#layer.set(row, layer);
    const last = this.#last.get(directory);
    this.#next.set(row, last === 0 ? row : this.#next.get(last));
    if (last !== 0) this.#next.set(last, row);
    this.#last.set(directory, row);
    this.#count.set(directory, this.#count.get(directory) + 1);
    if (++this.#live > this.#buckets.length) this.#widen();
    this.#chain(row, this.#bucket(directory, name));
  }

  /** Removes a name, if the directory has it. */
  remove(directory: number, name: string): void {
    const bucket = this.#bucket(directory, name);
    let before = 0;
    for (let row = this.#buckets[bucket]!; row !== 0; row = this.#inBucket.get(row)) {
      if (this.#is(row, directory, name)) {
        const after = this.#inBucket.get(row);
        if (before === 0) this.#buckets[bucket] = after;
        else this.#inBucket.set(before, after);
        this.#node.set(row, 0);
        this.#live--;
        const count = this.#count.get(directory) - 1;
        this.#count.set(directory, count);
        if (count === 0) this.#last.set(directory, 0);
        return;
      }
      before = row;
    }
  }

  /** Names in a directory. */
  count(directory: number): number {
    return this.#count.get(directory);
  }

  /** Number of the layer that made a name, which exists. */
  layer(directory: number, name: string): number {
    return this.#layer.get(this.#row(directory, name));
  }

  /** Makes a name, which exists, one that `layer` made. */
  setLayer(directory: number, name: string, layer: number): void {
    this.#layer.set(this.#row(directory, name), layer);
  }

  /** The names of a directory in the order in which they were added; the one that was answered last may be removed meanwhile. */
  *of(directory: number): Generator<string> {
    for (const row of this.#ring(directory)) yield this.#texts.text(this.#text.get(row));
  }

  /** The inodes under the names of a directory, in the same order. */
  *nodes(directory: number): Generator<number> {
    for (const row of this.#ring(directory)) yield this.#node.get(row);
  }

  /** The rows of a directory; takes those of removed names out of its ring. */
  *#ring(directory: number): Generator<number> {
    const last = this.#last.get(directory);
    if (last === 0) return;
    let before = last;
    for (let row = this.#next.get(last); ; ) {
      const next = this.#next.get(row);
      if (this.#node.get(row) !== 0) {
        yield row;
        before = row;
      } else if (row !== last) this.#next.set(before, next);
      if (row === last) return;
      row = next;
    }
  }

  #row(directory: number, name: string): number {
    let row = this.#buckets[this.#bucket(directory, name)]!;
    while (row !== 0 && !this.#is(row, directory, name)) row = this.#inBucket.get(row);
    return row;
  }

  #is(row: number, directory: number, name: string): boolean {
    return this.#directory.get(row) === directory && this.#texts.equals(this.#text.get(row), name);
  }

  #bucket(directory: number, name: string): number {
    return (keyedHash(this.#key, directory, name) & (this.#buckets.length - 1)) >>> 0;
  }

  #chain(row: number, bucket: number): void {
    this.#inBucket.set(row, this.#buckets[bucket]!);
    this.#buckets[bucket] = row;
  }

  /** Doubles the buckets. */
  #widen(): void {
    this.#buckets = new Uint32Array(this.#buckets.length * 2);
    for (let row = 1; row < this.#rows; row++)
      if (this.#node.get(row) !== 0)
        this.#chain(row, this.#bucket(this.#directory.get(row), this.#texts.text(this.#text.get(row))));
  }
}
