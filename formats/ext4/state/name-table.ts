/**
 * The names of all directories: 24 bytes each and the text, and 11 to 22 in the index that finds a name by directory and text. The
 * names of a directory are also a list in the order in which they were added.
 */
import { type Arena, PAGE_BITS, PAGE_MASK } from './arena.ts';
import { FIELD, type InodeTable } from './inode-table.ts';
import { type HashKey, keyedHash } from './keyed-hash.ts';
import type { MemoryBudget } from './memory-budget.ts';
import { NameIndex } from './name-index.ts';

/** Words of a record. */
const HASH = 0;
const AFTER = 1;
const BEFORE = 2;
const INODE = 3;
const DIRECTORY = 4;
/** Bytes of the text, and the layer that made the name, plus one, above them. */
const LENGTH = 5;
const TEXT = 6;

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
  readonly #index: NameIndex;
  readonly #key: HashKey;
  /** The last hash: a name is looked for before it is added. */
  #hashed = { directory: 0, text: '', hash: 0 };

  constructor({ arena, inodes, memory, key }: NameTableParts) {
    this.#arena = arena;
    this.#inodes = inodes;
    this.#index = new NameIndex(memory);
    this.#key = key;
  }

  /** The name `text` of a directory, 0 if it has none. */
  find(directory: number, text: string): EntryRef {
    for (let ref = this.#index.first(this.#hash(directory, text)); ref !== 0; ref = this.#index.next()) {
      const page = this.#arena.pages[ref >>> PAGE_BITS]!;
      if (page[(ref & PAGE_MASK) + DIRECTORY] === directory && this.#equals(ref, text)) return ref;
    }
    return 0;
  }

  /** Adds a name that the directory does not have yet, behind its others. */
  add(directory: number, text: string, inode: number, layer: number): EntryRef {
    const hash = this.#hash(directory, text);
    const ref = this.#arena.allocate(wordsOf(text.length));
    this.#index.add(hash, ref);
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
    this.#index.remove(this.#get(ref, HASH), ref);
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
    const start = textStart(ref);
    return this.#arena.bytes[ref >>> PAGE_BITS]!.subarray(start, start + this.length(ref));
  }

  /** The memory that holds the bytes of a name, from {@link textStart} on. */
  memory(ref: EntryRef): Uint8Array {
    return this.#arena.bytes[ref >>> PAGE_BITS]!;
  }

  /** A name as text. */
  text(ref: EntryRef): string {
    return String.fromCharCode(...this.bytes(ref));
  }

  #hash(directory: number, text: string): number {
    const hashed = this.#hashed;
    if (hashed.directory !== directory || hashed.text !== text) {
      hashed.hash = keyedHash(this.#key, directory, text);
      hashed.directory = directory;
      hashed.text = text;
    }
    return hashed.hash;
  }

  #equals(ref: EntryRef, text: string): boolean {
    if (this.length(ref) !== text.length) return false;
    const bytes = this.#arena.bytes[ref >>> PAGE_BITS]!;
    const start = textStart(ref);
    for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  #get(ref: EntryRef, word: number): number {
    return this.#arena.pages[ref >>> PAGE_BITS]![(ref & PAGE_MASK) + word]!;
  }

  #set(ref: EntryRef, word: number, value: number): void {
    this.#arena.pages[ref >>> PAGE_BITS]![(ref & PAGE_MASK) + word] = value;
  }
}

/** Where the bytes of a name begin in the memory that {@link NameTable.memory} answers. */
export function textStart(ref: EntryRef): number {
  return ((ref & PAGE_MASK) + TEXT) * 4;
}

function wordsOf(length: number): number {
  return TEXT + ((length + 3) >>> 2);
}
