/** The tree of a root file system as a list of records that two independent sources can be compared by. */

/** The kind and attributes of a path. */
export type EntryType = 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo' | 'socket';

/** One path of a tree with everything that a container could see of it. */
export interface TreeEntry {
  /** Absolute path, one character per byte. */
  readonly path: string;
  readonly type: EntryType;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of a file's content or a symlink's target; 0 for the rest, whose size is the file system's own affair. */
  readonly size: number;
  readonly mtimeNs: bigint;
  /** Absent where the source does not know it: extracted files get the extractor's. */
  readonly atimeNs?: bigint;
  readonly ctimeNs?: bigint;
  readonly nlink: number;
  /** The first path, by bytes, of those that share this inode: equal groups are equal whatever the inode numbers. */
  readonly firstLink: string;
  /** Attribute name to value in hex, sorted by name. */
  readonly xattrs: readonly (readonly [name: string, hex: string])[];
  /** Major and minor of a device node. */
  readonly device?: readonly [major: number, minor: number];
  /** Target of a symlink, one character per byte. */
  readonly target?: string;
  /** Hash of a file's content, in hex. */
  readonly sha256?: string;
}

/** A record as the Python scripts beside this file print it, one JSON document per line (tree_records.py). */
interface RawEntry {
  readonly path: string;
  readonly type: EntryType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: string;
  readonly atime?: string;
  readonly ctime?: string;
  readonly nlink: number;
  readonly inode: string;
  readonly xattrs: readonly (readonly [string, string])[];
  readonly device?: readonly [number, number];
  readonly target?: string;
  readonly sha256?: string;
}

/** Reads the scripts' output into entries sorted by path. */
export function parseTree(lines: Buffer): TreeEntry[] {
  const raw = lines
    .toString('latin1')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as RawEntry)
    .sort((a, b) => compare(a.path, b.path));
  const first = new Map<string, string>();
  for (const entry of raw) if (!first.has(entry.inode)) first.set(entry.inode, entry.path);
  return raw.map(({ mtime, atime, ctime, inode, ...entry }) => ({
    ...entry,
    mtimeNs: BigInt(mtime),
    ...(atime === undefined ? {} : { atimeNs: BigInt(atime) }),
    ...(ctime === undefined ? {} : { ctimeNs: BigInt(ctime) }),
    firstLink: first.get(inode) ?? entry.path,
    xattrs: [...entry.xattrs].sort(([a], [b]) => compare(a, b)),
  }));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * The tree without the `/lost+found` that e2fsck asks every ext4 for. An image that brings its own names it in a layer:
 * then it belongs to the tree, and the caller does not call this.
 */
export function withoutLostAndFound(entries: readonly TreeEntry[]): TreeEntry[] {
  const own = entries.find((entry) => entry.path === '/lost+found' && entry.type === 'directory');
  if (own === undefined) return [...entries];
  if (entries.some((entry) => entry.path.startsWith('/lost+found/'))) throw new Error('/lost+found is not empty');
  return entries
    .filter((entry) => entry !== own)
    .map((entry) => (entry.path === '/' ? { ...entry, nlink: entry.nlink - 1 } : entry));
}

const LETTERS: Readonly<Record<EntryType, string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  character: 'c',
  block: 'b',
  fifo: 'p',
  socket: 's',
};

/** One entry as a line: type mode uid gid size mtime links [xattrs] path, then hash, target or device, then its group. */
export function formatEntry(entry: TreeEntry): string {
  const size = entry.type === 'file' || entry.type === 'symlink' ? String(entry.size) : '*';
  const xattrs = entry.xattrs.map(([name, hex]) => `${quote(name)}=${hex}`).join(',');
  const parts = [
    LETTERS[entry.type],
    entry.mode.toString(8).padStart(5, '0'),
    entry.uid,
    entry.gid,
    size,
    entry.mtimeNs,
    entry.nlink,
    `[${xattrs}]`,
    quote(entry.path),
  ];
  if (entry.sha256 !== undefined) parts.push(entry.sha256);
  if (entry.target !== undefined) parts.push(`-> ${quote(entry.target)}`);
  if (entry.device !== undefined) parts.push(entry.device.join(','));
  if (entry.firstLink !== entry.path) parts.push(`= ${quote(entry.firstLink)}`);
  return parts.join(' ');
}

/** Printable ASCII as it is, every other byte as `\xNN`, so that a line is a line. */
function quote(bytes: string): string {
  return bytes.replace(/[^!-[\]-~]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/**
 * The lines that differ, each as `- expected` or `+ found`, at most `limit`; empty when the trees are equal. For trees
 * of many thousand paths, where a test framework's own diff takes minutes.
 */
export function diffTrees(expected: readonly TreeEntry[], found: readonly TreeEntry[], limit = 40): string[] {
  const left = new Map(expected.map((entry) => [entry.path, formatEntry(entry)]));
  const right = new Map(found.map((entry) => [entry.path, formatEntry(entry)]));
  const lines: string[] = [];
  for (const path of [...new Set([...left.keys(), ...right.keys()])].sort(compare)) {
    const [a, b] = [left.get(path), right.get(path)];
    if (a === b) continue;
    if (a !== undefined) lines.push(`- ${a}`);
    if (b !== undefined) lines.push(`+ ${b}`);
  }
  return lines.length > limit ? [...lines.slice(0, limit), `… ${lines.length - limit} more lines`] : lines;
}
