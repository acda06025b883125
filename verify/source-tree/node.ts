/** A source tree: what an image's layers say, without the content itself. */
import type { TarTime } from '../../formats/tar/entry.ts';
import type { ContentHash } from './content-hash.ts';

/** Types of files in an image. */
export type SourceNodeType = 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo';

/** Attributes of a file in an entry, beside its name. */
export interface SourceAttributes {
  readonly type: SourceNodeType;
  /** 0 to 0o7777; of a symlink always 0o777, as Linux has it. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: TarTime;
  /** Bytes of a file or of a symlink's text; 0 for everything else. */
  readonly size: number;
  /** By Latin-1 name; POSIX ACLs in the form that user space sees. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Of `character` and `block`; 0 otherwise. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Text of a symlink, Latin-1. */
  readonly target?: string;
  /** Of a `file`, unless content was to be skipped. */
  readonly content?: ContentHash;
}

/** One inode of the tree: a view, made when it is asked for. */
export interface SourceNode {
  /** Paths that are hard links of each other lead to the same number, from 1 on. */
  readonly id: number;
  readonly attributes: SourceAttributes;
  /** Names in a directory, in no order; none for everything else. */
  readonly names: readonly string[];
  /** The inode under a name of a directory, or undefined. */
  child(name: string): SourceNode | undefined;
  /** Another inode of the same tree by its number. */
  node(id: number): SourceNode;
  /** Paths that lead here; of a directory 2 and its subdirectories, as `stat` shows it. */
  readonly links: number;
}
