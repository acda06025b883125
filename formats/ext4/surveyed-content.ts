/**
 * Several layers as one: a first reading of their tars applies names and attributes and notes which entry made which file,
 * a second one stores the content of the files that are left. Content that an upper layer replaced or deleted gets no block.
 */
import { withPlace } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { NumberList } from '../bytes/radix-sort.ts';
import type { TarEntry, TarHandler } from '../tar/entry.ts';
import type { Ext4Image } from './ext4-image.ts';
import { checkFileSize, type FileContent, type FileDataSink, StoredContent } from './file-content.ts';

/** Files noted before those that are gone are dropped for the first time. */
const FIRST_PRUNING = 1 << 16;

/** The content of a layer that is only noted: 8 bytes of memory for each file that is left. */
export class SurveyedContent implements FileContent {
  readonly #image: Ext4Image;
  /** Positions of entries in the tar, ascending, and the inodes that they made. */
  #entries = new NumberList();
  #inodes = new NumberList();
  #position = -1;
  #limit = FIRST_PRUNING;

  constructor(image: Ext4Image) {
    this.#image = image;
  }

  next(): void {
    this.#position++;
  }

  begin(inode: number, entry: TarEntry): void {
    checkFileSize(entry);
    this.#image.setSize(inode, entry.size);
    if (entry.size === 0) return;
    this.#entries.push(this.#position);
    this.#inodes.push(inode);
    // A tar may replace one file a million times.
    if (this.#entries.count >= this.#limit) this.prune();
  }

  data(): void {}

  end(): void {}

  /** Forgets files that are gone; those that are left number {@link files}. Inode numbers are never used again. */
  prune(): void {
    const entries = new NumberList();
    const inodes = new NumberList();
    for (let i = 0; i < this.#inodes.count; i++) {
      const inode = this.#inodes.at(i);
      if (!this.#image.state.inodes.has(inode)) continue;
      entries.push(this.#entries.at(i));
      inodes.push(inode);
    }
    this.#entries = entries;
    this.#inodes = inodes;
    this.#limit = Math.max(FIRST_PRUNING, 2 * entries.count);
  }

  /** Files with content that the last {@link prune} left. */
  get files(): number {
    return this.#inodes.count;
  }

  /** Stores the content of what is left, in a second reading of the same tar. */
  store(sink: FileDataSink): SurvivorStore {
    return new SurvivorStore(this.#image, sink, { entries: this.#entries, inodes: this.#inodes });
  }
}

/** Files by the positions of their entries in a tar. */
interface Survivors {
  readonly entries: NumberList;
  readonly inodes: NumberList;
}

/** A handler for the tar parser that stores the content of some entries in inodes that exist. */
export class SurvivorStore implements TarHandler {
  readonly #content: StoredContent;
  readonly #survivors: Survivors;
  #position = -1;
  #next = 0;

  constructor(image: Ext4Image, sink: FileDataSink, survivors: Survivors) {
    this.#content = new StoredContent(image, sink);
    this.#survivors = survivors;
  }

  /** Entries read so far. */
  get entries(): number {
    return this.#position + 1;
  }

  entry(entry: TarEntry): undefined {
    this.#position++;
    this.#content.next();
    const { entries, inodes } = this.#survivors;
    if (this.#next >= entries.count || entries.at(this.#next) !== this.#position) return undefined;
    try {
      this.#content.begin(inodes.at(this.#next++), entry);
    } catch (error) {
      throw withPlace(error, { path: printable(entry.name), tarOffset: entry.headerOffset });
    }
    return undefined;
  }

  data(bytes: Uint8Array): void {
    this.#content.data(bytes);
  }

  entryEnd(): void {
    this.#content.end();
  }

  ignoredRecords(): void {}
}
