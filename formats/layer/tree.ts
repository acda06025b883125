/** The tree that the entries of a layer change, as the rules of this folder see it. */
import type { TarEntry, TarTime } from '../tar/entry.ts';

/** The kinds of inode that a layer can hold. */
export type NodeKind = 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo';

/** Mode, owner and time of an inode. */
export interface NodeAttributes {
  /** Permission, setuid, setgid and sticky bits: 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: TarTime;
}

/** Extended attributes by their Latin-1 name; POSIX ACLs in the form that user space sees. */
export type Xattrs = ReadonlyMap<string, Uint8Array>;

/** An inode to be made. */
export interface NewNode {
  readonly kind: NodeKind;
  readonly attributes: NodeAttributes;
  /** Text of a symlink, Latin-1; empty for every other kind. */
  readonly target: string;
  /** Device number; 0 unless `character` or `block`. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/**
 * Work that takes long, in steps that each take milliseconds: between them the event loop may turn. Nothing else changes the
 * tree until the last one.
 */
export type Steps<T = void> = Generator<undefined, T>;

/** Does all steps at once. */
export function finish<T>(steps: Steps<T>): T {
  for (let step = steps.next(); ; step = steps.next()) if (step.done === true) return step.value;
}

/** The fields of a tar entry that decide about the tree; content is the caller's. */
export type EntryHeader = Pick<
  TarEntry,
  'name' | 'type' | 'linkName' | 'mode' | 'uid' | 'gid' | 'mtime' | 'devMajor' | 'devMinor' | 'xattrs'
>;

/**
 * A tree of inodes `N` with the layers below applied. Each name in a directory remembers whether the layer being applied
 * made it ("own") or a lower one. Names are Latin-1 strings, a character for each byte.
 */
export interface LayerTree<N> {
  readonly root: N;
  kind(node: N): NodeKind;
  /** The directory that holds `directory`; the root's is the root. */
  parent(directory: N): N;
  /** The inode under a name, or undefined. */
  child(directory: N, name: string): N | undefined;
  /** Whether the layer being applied made this name, which exists. */
  isOwn(directory: N, name: string): boolean;
  /** Makes an existing name one of the layer being applied. */
  markOwn(directory: N, name: string): void;
  isEmpty(directory: N): boolean;
  /** The names that lower layers made; the one that was answered last may be removed meanwhile. */
  lowerNames(directory: N): Iterable<string>;
  /** Text of a symlink. */
  target(symlink: N): string;
  xattrs(node: N): Xattrs;
  /** Makes an inode under a name that is free. */
  create(directory: N, name: string, node: NewNode): N;
  /** Gives an inode that is not a directory one more name, which is free. */
  link(directory: N, name: string, node: N): void;
  /** Removes a name, which is not that of a directory with content. */
  remove(directory: N, name: string): void;
  /** Removes a directory with everything below it. */
  removeTree(directory: N, name: string): Steps;
  setAttributes(node: N, attributes: NodeAttributes): void;
  /** Replaces all extended attributes. */
  setXattrs(node: N, xattrs: Xattrs): void;
}

/** Receives what the rules have to say about an entry; `path` is the entry's. */
export interface RuleReport {
  /** The tree does not hold something as the entry says it. */
  changed(message: string, path: string): void;
  /** The tree is as the layer says, and a container runtime makes another one, or none, of the plain image. */
  differs(message: string, path: string): void;
}

/** Attributes of a directory that no entry names. */
export const IMPLICIT_DIRECTORY: NodeAttributes = {
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
};
