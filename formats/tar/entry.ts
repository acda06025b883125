/** The parser's view of an archive: the entries, in tar order, free of the encodings they were written in. */

/** The kinds of file that a container layer can hold. */
export type TarEntryType = 'file' | 'link' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo';

/** A stretch of a sparse file that has data; what lies between runs reads as zeros. */
export interface SparseRun {
  /** Byte of the file at which the run begins. */
  readonly offset: number;
  /** Bytes of the run, at least 1. */
  readonly length: number;
}

/** A modification time: `seconds` since 1970 may be negative, `nanoseconds` count forward from it (0 to 999,999,999). */
export interface TarTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/**
 * One member of the archive after every extension (PAX, GNU, base-256) has been applied. Names are Latin-1 strings, one
 * character a byte, because a tar says nothing of their encoding; they are not normalised and not trusted.
 */
export interface TarEntry {
  /** Path as the tar has it, never empty, never with a NUL; a directory's may end in `/`. */
  readonly name: string;
  /** The kind of file. */
  readonly type: TarEntryType;
  /** Target of a `link` or `symlink`, byte for byte; empty for every other type. */
  readonly linkName: string;
  /** Permission bits with setuid, setgid and sticky: 0 to 0o7777. */
  readonly mode: number;
  /** Owner, 0 to 2^32-1. */
  readonly uid: number;
  /** Group, 0 to 2^32-1. */
  readonly gid: number;
  /** Modification time. */
  readonly mtime: TarTime;
  /** Logical size of the file in bytes; 0 for everything that is not a `file`. */
  readonly size: number;
  /** Bytes of data that follow in the tar: equal to `size`, except for a sparse file, where it is the sum of the runs. */
  readonly packedSize: number;
  /** Major device number; 0 unless `character` or `block`. */
  readonly devMajor: number;
  /** Minor device number; 0 unless `character` or `block`. */
  readonly devMinor: number;
  /** Extended attributes by Latin-1 name, in tar order; the values are the entry's own copies. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** The runs of a sparse file, ascending and apart; their data is packed in this order. `undefined` for other files. */
  readonly sparse: readonly SparseRun[] | undefined;
  /** Byte of the tar where the entry begins, at the first of its extension headers. */
  readonly headerOffset: number;
  /** Byte of the tar where the packed data begins, after the sparse map in front of it, if any. */
  readonly dataOffset: number;
}

/** Receives an archive as the parser walks it. Errors that these throw pass through the parser unchanged. */
export interface TarHandler {
  /**
   * The next entry, before its data. Work on it that takes long is answered as steps, which end before anything else of the
   * archive is passed on.
   */
  entry(entry: TarEntry): Generator<undefined, void> | undefined;
  /** The next bytes of the entry's packed data: a view into the caller's chunk, valid during the call only. */
  data(bytes: Uint8Array): void;
  /**
   * A PAX global header held these records (by key), which a reader by POSIX would apply to all entries that follow. They
   * are ignored, as container runtimes ignore them.
   */
  ignoredRecords?(keys: readonly string[]): void;
  /** The entry is complete: all of its packed data has been passed to {@link TarHandler.data}. */
  entryEnd(): void;
}
