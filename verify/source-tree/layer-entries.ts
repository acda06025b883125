/** The entries of one layer, read from its tar in one go; content is hashed as it passes and not kept. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../../formats/bytes/printable.ts';
import type { SparseRun, TarEntry, TarHandler, TarTime } from '../../formats/tar/entry.ts';
import type { TarLimits } from '../../formats/tar/limits.ts';
import { TarParser } from '../../formats/tar/parser.ts';
import { type ContentHasher, contentHasher } from './content-hash.ts';
import type { LayerEntry } from './node.ts';

/** How to read a layer. */
export interface LayerEntriesOptions {
  /** Hash the content of files; otherwise the records have none. */
  readonly hashContent: boolean;
  /** Entries that a layer may have. */
  readonly maxEntries: number;
  /** Bounds of the archive, where they are other than the parser's own. */
  readonly limits?: Partial<TarLimits>;
  /** Told of what an ext4 cannot hold and is therefore not compared as the tar says it. */
  readonly onWarning: (message: string, path: string) => void;
}

/** Bytes of all extended attributes of one entry: Linux takes no value above 64 KiB, ext4 hardly more than 4. */
const MAX_XATTR_BYTES = 1 << 17;
/** Attributes of Linux; a kernel stores no others (xattr(7)). */
const LINUX_XATTR = /^(?:user|trusted|security|system)\../s;
/** First and last second of an ext4 timestamp: 34 bits from 1901-12-13 on (Linux, ext4/inodes.rst). */
const FIRST_SECOND = -0x8000_0000;
const LAST_SECOND = 0x3_8000_0000 - 1;

/** Reads all entries of a tar. Throws what the parser throws, and `limit-exceeded`. */
export async function readLayerEntries(
  tar: AsyncIterable<Uint8Array>,
  options: LayerEntriesOptions,
): Promise<LayerEntry[]> {
  const collector = new EntryCollector(options);
  const parser = new TarParser(collector, options.limits);
  for await (const chunk of tar) parser.push(chunk);
  parser.end();
  return collector.entries;
}

class EntryCollector implements TarHandler {
  readonly entries: LayerEntry[] = [];
  readonly #options: LayerEntriesOptions;
  #entry: TarEntry | undefined;
  #hasher: ContentHasher | undefined;
  /** Stretches of the file that its data fills, and how much of them has passed. */
  #runs: readonly SparseRun[] = [];
  #run = 0;
  #inRun = 0;

  constructor(options: LayerEntriesOptions) {
    this.#options = options;
  }

  entry(entry: TarEntry): void {
    if (this.entries.length >= this.#options.maxEntries) {
      throw new AccelError('limit-exceeded', 'a layer holds too many entries', {
        expected: `at most ${this.#options.maxEntries}`,
      });
    }
    this.#entry = entry;
    this.#hasher = undefined;
    if (entry.type !== 'file' || !this.#options.hashContent) return;
    this.#hasher = contentHasher(entry.sparse === undefined ? 'sha256' : 'sha256-of-blocks');
    this.#runs = entry.sparse ?? [{ offset: 0, length: entry.size }];
    this.#run = 0;
    this.#inRun = 0;
  }

  data(bytes: Uint8Array): void {
    if (this.#hasher === undefined) return;
    for (let at = 0; at < bytes.length; ) {
      const run = this.#runs[this.#run];
      if (run === undefined) return;
      const piece = bytes.subarray(at, at + run.length - this.#inRun);
      this.#hasher.update(run.offset + this.#inRun, piece);
      at += piece.length;
      this.#inRun += piece.length;
      if (this.#inRun === run.length) {
        this.#run++;
        this.#inRun = 0;
      }
    }
  }

  entryEnd(): void {
    const entry = this.#entry!;
    const isSymlink = entry.type === 'symlink';
    this.entries.push({
      name: entry.name,
      type: entry.type,
      linkName: entry.linkName,
      mode: isSymlink ? 0o777 : entry.mode,
      uid: entry.uid,
      gid: entry.gid,
      mtime: this.#nearest(entry.mtime, entry.name),
      size: isSymlink ? entry.linkName.length : entry.size,
      xattrs: this.#linuxXattrs(entry),
      deviceMajor: entry.devMajor,
      deviceMinor: entry.devMinor,
      tarOffset: entry.headerOffset,
      ...(this.#hasher === undefined ? {} : { content: this.#hasher.finish() }),
    });
  }

  #linuxXattrs({ xattrs, name }: TarEntry): ReadonlyMap<string, Uint8Array> {
    let bytes = 0;
    const foreign: string[] = [];
    for (const [key, value] of xattrs) {
      bytes += key.length + value.length;
      if (!LINUX_XATTR.test(key)) foreign.push(key);
    }
    if (bytes > MAX_XATTR_BYTES) {
      throw new AccelError(
        'limit-exceeded',
        'the extended attributes of a file are larger than any file system takes',
        {
          where: { path: printable(name) },
          expected: `at most ${MAX_XATTR_BYTES} bytes`,
          found: bytes,
        },
      );
    }
    if (foreign.length === 0) return xattrs;
    this.#options.onWarning('extended attributes that Linux does not know are not compared', printable(name));
    return new Map([...xattrs].filter(([key]) => !foreign.includes(key)));
  }

  #nearest(time: TarTime, name: string): TarTime {
    if (time.seconds >= FIRST_SECOND && time.seconds <= LAST_SECOND) return time;
    this.#options.onWarning('a time that ext4 cannot hold is compared with the nearest that it can', printable(name));
    return time.seconds < FIRST_SECOND
      ? { seconds: FIRST_SECOND, nanoseconds: 0 }
      : { seconds: LAST_SECOND, nanoseconds: 999_999_999 };
  }
}
