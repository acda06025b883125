/**
 * The names of all directories: 28 bytes each and the text. A name is found through one hash table over directory and
 * text that grows bucket by bucket (linear hashing, Litwin 1980), so that no insertion waits for a whole table to be
 * copied; the names of a directory are also a list in the order in which they were added.
 */
import { type Arena, PAGE_BITS, PAGE_MASK } from './arena.ts';
import { FIELD, type InodeTable } from './inode-table.ts';
import { type HashKey, keyedHash } from './keyed-hash.ts';
import type { MemoryBudget } from './memory-budget.ts';

/** Words of a record. */
const IN_BUCKET = 0;
const HASH = 1;
const AFTER = 2;
const BEFORE = 3;
const INODE = 4;
const DIRECTORY = 5;
/** Bytes of the text, and the layer that made the name, plus one, above them. */
const LENGTH = 6;
const TEXT = 7;

const BUCKETS_PER_PAGE = 1 << 12;

/** A reference to a name of a directory; 0 refers to nothing. Valid until the name is removed. */
export type EntryRef = number;

/** The surroundings of the names of an image. */
export interface NameTableParts {
  readonly arena: Arena;
  readonly inodes: InodeTable;
  readonly memory: MemoryBudget;
  readonly key: HashKey;
}

/** The directories' names. Texts are Latin-1, a byte for each character, 1 to 255 bytes. */
export class NameTable {
  readonly #arena: Arena;
  readonly #inodes: InodeTable;
  readonly #memory: MemoryBudget;
  readonly #key: HashKey;
  /** First name of each bucket. */
  readonly #buckets: Uint32Array[] = [];
  /** Buckets from 0 to `2 ** level` exist, and as many again as were split. */
  #mask = BUCKETS_PER_PAGE - 1;
  #split = 0;
  #count = 0;

  constructor({ arena, inodes, memory, key }: NameTableParts) {
    this.#arena = arena;
    this.#inodes = inodes;
    this.#memory = memory;
    this.#key = key;
    this.#addBuckets();
  }

  /** The name `text` of a directory, 0 if it has none. */
  find(directory: number, text: string): EntryRef {
    const hash = keyedHash(this.#key, directory, text);
    const bucket = this.#bucketOf(hash);
    let ref = this.#buckets[Math.floor(bucket / BUCKETS_PER_PAGE)]![bucket % BUCKETS_PER_PAGE]!;
    while (ref !== 0) {
      const page = this.#arena.pages[ref >>> PAGE_BITS]!;
      const at = ref & PAGE_MASK;
      if (page[at + HASH] === hash && page[at + DIRECTORY] === directory && this.#equals(ref, text)) return ref;
      ref = page[at + IN_BUCKET]!;
    }
    return 0;
  }

  /** Adds a name that the directory does not have yet, behind its others. */
  add(directory: number, text: string, inode: number, layer: number): EntryRef {
    const hash = keyedHash(this.#key, directory, text);
    const ref = this.#arena.allocate(wordsOf(text.length));
    const page = this.#arena.pages[ref >>> PAGE_BITS]!;
    const at = ref & PAGE_MASK;
    const last = this.#inodes.get(directory, FIELD.lastEntry);
    page[at + HASH] = hash;
    page[at + AFTER] = 0;
    page[at + BEFORE] = last;
    page[at + INODE] = inode;
    page[at + DIRECTORY] = directory;
    page[at + LENGTH] = text.length | ((layer + 1) << 16);
    const bytes = this.#arena.bytes[ref >>> PAGE_BITS]!;
    for (let i = 0, to = (at + TEXT) * 4; i < text.length; i++) bytes[to + i] = text.charCodeAt(i);
    if (last === 0) this.#inodes.set(directory, FIELD.firstEntry, ref);
    else this.#set(last, AFTER, ref);
    this.#inodes.set(directory, FIELD.lastEntry, ref);
    this.#chain(ref, hash);
    if (++this.#count > this.#mask + 1 + this.#split) this.#splitBucket();
    return ref;
  }

  /** Removes a name. */
  remove(ref: EntryRef): void {
    const directory = this.#get(ref, DIRECTORY);
    const before = this.#get(ref, BEFORE);
    const after = this.#get(ref, AFTER);
    if (before === 0) this.#inodes.set(directory, FIELD.firstEntry, after);
    else this.#set(before, AFTER, after);
    if (after === 0) this.#inodes.set(directory, FIELD.lastEntry, before);
    else this.#set(after, BEFORE, before);
    this.#unchain(ref);
    this.#count--;
    this.#arena.free(ref, wordsOf(this.length(ref)));
  }

  /** The inode that a name refers to. */
  inode(ref: EntryRef): number {
    return this.#get(ref, INODE);
  }

  /** The directory that has a name. */
  directory(ref: EntryRef): number {
    return this.#get(ref, DIRECTORY);
  }

  /** Number of the layer that made a name, -1 for the empty file system. */
  layer(ref: EntryRef): number {
    return (this.#get(ref, LENGTH) >>> 16) - 1;
  }

  /** Makes a name one that `layer` made. */
  setLayer(ref: EntryRef, layer: number): void {
    this.#set(ref, LENGTH, this.length(ref) | ((layer + 1) << 16));
  }

  /** The first name of a directory in the order in which they were added, 0 if it is empty. */
  first(directory: number): EntryRef {
    return this.#inodes.get(directory, FIELD.firstEntry);
  }

  /** The name added after another one of its directory, 0 behind the last. */
  next(ref: EntryRef): EntryRef {
    return this.#get(ref, AFTER);
  }

  /** Bytes of a name. */
  length(ref: EntryRef): number {
    return this.#get(ref, LENGTH) & 0xffff;
  }

  /** The bytes of a name: a view. */
  bytes(ref: EntryRef): Uint8Array {
    const start = ((ref & PAGE_MASK) + TEXT) * 4;
    return this.#arena.bytes[ref >>> PAGE_BITS]!.subarray(start, start + this.length(ref));
  }

  /** A name as text. */
  text(ref: EntryRef): string {
    return String.fromCharCode(...this.bytes(ref));
  }

  #equals(ref: EntryRef, text: string): boolean {
    if (this.length(ref) !== text.length) return false;
    const bytes = this.#arena.bytes[ref >>> PAGE_BITS]!;
    const start = ((ref & PAGE_MASK) + TEXT) * 4;
    for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  #bucketOf(hash: number): number {
    const bucket = (hash & this.#mask) >>> 0;
    return bucket < this.#split ? (hash & (this.#mask * 2 + 1)) >>> 0 : bucket;
  }

  #chain(ref: EntryRef, hash: number): void {
    const bucket = this.#bucketOf(hash);
    const page = this.#buckets[Math.floor(bucket / BUCKETS_PER_PAGE)]!;
    this.#set(ref, IN_BUCKET, page[bucket % BUCKETS_PER_PAGE]!);
    page[bucket % BUCKETS_PER_PAGE] = ref;
  }

  #unchain(ref: EntryRef): void {
    const bucket = this.#bucketOf(this.#get(ref, HASH));
    const page = this.#buckets[Math.floor(bucket / BUCKETS_PER_PAGE)]!;
    let at = page[bucket % BUCKETS_PER_PAGE]!;
    if (at === ref) {
      page[bucket % BUCKETS_PER_PAGE] = this.#get(ref, IN_BUCKET);
      return;
    }
    while (this.#get(at, IN_BUCKET) !== ref) at = this.#get(at, IN_BUCKET);
    this.#set(at, IN_BUCKET, this.#get(ref, IN_BUCKET));
  }

  /** Divides the names of one bucket between it and a new one. */
  #splitBucket(): void {
    const old = this.#split;
    if ((this.#mask + 1 + old) % BUCKETS_PER_PAGE === 0) this.#addBuckets();
    const page = this.#buckets[Math.floor(old / BUCKETS_PER_PAGE)]!;
    let ref = page[old % BUCKETS_PER_PAGE]!;
    page[old % BUCKETS_PER_PAGE] = 0;
    this.#split++;
    if (this.#split > this.#mask) {
      this.#mask = this.#mask * 2 + 1;
      this.#split = 0;
    }
    while (ref !== 0) {
      const next = this.#get(ref, IN_BUCKET);
      this.#chain(ref, this.#get(ref, HASH));
      ref = next;
    }
  }

  #addBuckets(): void {
    this.#memory.take(BUCKETS_PER_PAGE * 4);
    this.#buckets.push(new Uint32Array(BUCKETS_PER_PAGE));
  }

  #get(ref: EntryRef, word: number): number {
    return this.#arena.pages[ref >>> PAGE_BITS]![(ref & PAGE_MASK) + word]!;
  }

  #set(ref: EntryRef, word: number, value: number): void {
    this.#arena.pages[ref >>> PAGE_BITS]![(ref & PAGE_MASK) + word] = value;
  }
}

function wordsOf(length: number): number {
  return TEXT + ((length + 3) >>> 2);
}
