/** Records of files, names and extents of an image. */
import type { RawInode, Timestamp } from '../formats/ext4/inode.ts';
import type { InodeType } from '../formats/ext4/layout.ts';

/** A file, directory, link or device of an image. Paths and names are Latin-1 strings, a character for each byte. */
export interface FileStat {
  /** Absolute, without a slash at the end; symlinks on the way are resolved. */
  readonly path: string;
  readonly type: InodeType;
  /** Permission, setuid, setgid and sticky bits: 0 … 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content; of a symlink those of its text. */
  readonly size: number;
  readonly mtime: Timestamp;
  /** Hard links. */
  readonly links: number;
  /** The number that all names of one file share. */
  readonly inode: number;
  /** 0 but for devices. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Text of a symlink. */
  readonly target?: string;
  /** The inode as the file system has it. */
  readonly raw: RawInode;
}

/** A name in a directory. */
export interface NamedEntry {
  readonly name: string;
  /** By the directory; `undefined` where the file system does not say. */
  readonly type: InodeType | undefined;
  readonly inode: number;
}

/** Options of a look-up. */
export interface LookupOptions {
  /** Whether a symlink at the end of the path is followed; true unless given. */
  readonly followLast?: boolean;
  /** Called with every file that the look-up passes, including symlinks and the end of the path. */
  readonly onStep?: (stat: FileStat) => void;
}

/** A part of a file's content, in bytes and in whole blocks. */
export interface ByteExtent {
  /** Byte of the file. */
  readonly start: number;
  /** Byte of the device. */
  readonly offset: number;
  readonly length: number;
}
