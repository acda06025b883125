/** Compares the tree on the device with the tree that the source's layers say, everything but content. */
import type { RawDirent } from '../formats/ext4/directory-entries.ts';
import type { RawInode } from '../formats/ext4/inode.ts';
import { ROOT_INODE } from '../formats/ext4/layout.ts';
import type { Ext4Reader } from '../formats/ext4/reader.ts';
import type { SourceAttributes, SourceNode } from './source-tree/node.ts';
import { type DifferenceLog, damageText } from './verify-report.ts';

/** A file whose content is to be compared. */
export interface ContentTask {
  readonly path: string;
  readonly node: SourceNode;
  readonly inode: RawInode;
}

/** Totals of the comparison, and the files whose content is still to be compared. */
export interface ComparedTree {
  readonly paths: number;
  /** Regular files of equal size that the source has a hash of; each inode once. */
  readonly contents: readonly ContentTask[];
}

interface Pair {
  readonly path: string;
  readonly node: SourceNode;
  readonly inode: number;
}

/**
 * The directory that e2fsck wants; an image that does not bring one has an empty one nevertheless (docs/formats.md §6).
 */
const LOST_AND_FOUND = 'lost+found';
/** Links from which on ext4 counts those of a directory no more and says 1. */
const MANY_LINKS = 65_000;

/** Compares path by path; only what both sides have is descended into, so the source's size bounds the work. */
export async function compareTrees(
  fs: Ext4Reader,
  root: SourceNode,
  log: DifferenceLog,
  onPath: (paths: number) => void = () => undefined,
): Promise<ComparedTree> {
  const comparison = new TreeComparison(fs, log);
  const pending: Pair[] = [{ path: '/', node: root, inode: ROOT_INODE }];
  for (let pair = pending.pop(); pair !== undefined; pair = pending.pop()) {
    onPath(comparison.paths);
    for (const child of (await comparison.compare(pair)).reverse()) pending.push(child);
  }
  return comparison;
}

class TreeComparison implements ComparedTree {
  paths = 0;
  readonly contents: ContentTask[] = [];
  readonly #fs: Ext4Reader;
  readonly #log: DifferenceLog;
  /** Both directions between the files that have several names, each with the first path it was met under. */
  readonly #inodeOf = new Map<SourceNode, { readonly inode: number; readonly path: string }>();
  readonly #nodeOf = new Map<number, { readonly node: SourceNode; readonly path: string }>();

  constructor(fs: Ext4Reader, log: DifferenceLog) {
    this.#fs = fs;
    this.#log = log;
  }

  /** Compares one path and answers the pairs below it, in path order. */
  async compare({ path, node, inode: number }: Pair): Promise<Pair[]> {
    this.paths++;
    try {
      const inode = await this.#fs.inode(number);
      const { type } = node.attributes;
      this.#log.tree(path, 'type', type, inode.type);
      if (inode.type !== type) return [];
      await this.#compareAttributes(path, node.attributes, inode);
      if (node.children !== undefined) return await this.#compareDirectory(path, node, inode);
      this.#compareLinks(path, node, inode);
      return [];
    } catch (error) {
      this.#log.tree(path, 'inode', 'readable', damageText(error));
      return [];
    }
  }

  async #compareAttributes(path: string, expected: SourceAttributes, inode: RawInode): Promise<void> {
    const { type } = expected;
    this.#log.tree(path, 'mode', octal(expected.mode), octal(inode.mode));
    this.#log.tree(path, 'uid', String(expected.uid), String(inode.uid));
    this.#log.tree(path, 'gid', String(expected.gid), String(inode.gid));
    this.#log.tree(path, 'mtime', timeText(expected.mtime), timeText(inode.mtime));
    if (type === 'file' || type === 'symlink') this.#log.tree(path, 'size', `${expected.size}`, `${inode.size}`);
    if (type === 'symlink') this.#log.tree(path, 'target', expected.target ?? '', await this.#fs.target(inode));
    if (type === 'character' || type === 'block') {
      const device = `${expected.deviceMajor},${expected.deviceMinor}`;
      this.#log.tree(path, 'device', device, `${inode.deviceMajor},${inode.deviceMinor}`);
    }
    this.#compareXattrs(path, expected.xattrs, await this.#fs.xattrs(inode));
  }

  #compareXattrs(
    path: string,
    expected: ReadonlyMap<string, Uint8Array>,
    found: ReadonlyMap<string, Uint8Array>,
  ): void {
    for (const name of [...new Set([...expected.keys(), ...found.keys()])].sort(byCode)) {
      this.#log.tree(path, `xattr ${name}`, valueText(expected.get(name)), valueText(found.get(name)));
    }
  }

  /** Checks that the same paths are hard links of one file on both sides. */
  #compareLinks(path: string, node: SourceNode, inode: RawInode): void {
    this.#log.tree(path, 'links', String(node.links), String(inode.links));
    const byNode = this.#inodeOf.get(node);
    const byInode = this.#nodeOf.get(inode.number);
    if (byNode !== undefined && byNode.inode !== inode.number)
      this.#log.tree(path, 'hard link', `the file of ${byNode.path}`, 'another file');
    if (byInode !== undefined && byInode.node !== node)
      this.#log.tree(path, 'hard link', 'another file', `the file of ${byInode.path}`);
    if (byNode === undefined && (node.links > 1 || inode.links > 1))
      this.#inodeOf.set(node, { inode: inode.number, path });
    if (byInode === undefined) this.#nodeOf.set(inode.number, { node, path });
    const { type, size, content } = node.attributes;
    const isNew = byNode?.inode !== inode.number;
    if (type === 'file' && content !== undefined && size === inode.size && isNew)
      this.contents.push({ path, node, inode });
  }

  async #compareDirectory(path: string, node: SourceNode, inode: RawInode): Promise<Pair[]> {
    const found = await this.#names(path, inode);
    const expected = node.children!;
    let links = node.links;
    if (path === '/' && !expected.has(LOST_AND_FOUND)) {
      const own = found.get(LOST_AND_FOUND);
      if (own !== undefined && (await this.#isEmptyDirectory(own))) {
        found.delete(LOST_AND_FOUND);
        links++;
      }
    }
    const uncounted = links >= MANY_LINKS && inode.links === 1;
    if (!uncounted) this.#log.tree(path, 'links', String(links), String(inode.links));
    const below = path === '/' ? '/' : `${path}/`;
    const pairs: Pair[] = [];
    for (const name of [...new Set([...expected.keys(), ...found.keys()])].sort(byCode)) {
      const child = expected.get(name);
      const dirent = found.get(name);
      if (child !== undefined && dirent !== undefined)
        pairs.push({ path: below + name, node: child, inode: dirent.inode });
      else if (child !== undefined) this.#log.tree(below + name, 'path', describe(child), 'nothing');
      else this.#log.tree(below + name, 'path', 'nothing', await this.#describeInode(dirent!));
    }
    return pairs;
  }

  async #names(path: string, directory: RawInode): Promise<Map<string, RawDirent>> {
    const names = new Map<string, RawDirent>();
    for await (const dirent of this.#fs.entries(directory)) {
      if (names.has(dirent.name)) this.#log.tree(path, 'names', 'each name once', `${dirent.name} twice`);
      names.set(dirent.name, dirent);
    }
    return names;
  }

  async #isEmptyDirectory({ inode }: RawDirent): Promise<boolean> {
    const directory = await this.#fs.inode(inode);
    if (directory.type !== 'directory') return false;
    for await (const _ of this.#fs.entries(directory)) return false;
    return true;
  }

  async #describeInode({ inode }: RawDirent): Promise<string> {
    try {
      return `a ${(await this.#fs.inode(inode)).type}`;
    } catch (error) {
      return damageText(error);
    }
  }
}

function describe({ attributes, children }: SourceNode): string {
  const below = children?.size ?? 0;
  return below === 0 ? `a ${attributes.type}` : `a ${attributes.type} with ${below} names in it`;
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

/** Seconds since 1970 with all nine decimals, as one number: -0.25 s is `-0.250000000`. */
function timeText({ seconds, nanoseconds }: { readonly seconds: number; readonly nanoseconds: number }): string {
  const total = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
  const size = total < 0n ? -total : total;
  const fraction = (size % 1_000_000_000n).toString().padStart(9, '0');
  return `${total < 0n ? '-' : ''}${size / 1_000_000_000n}.${fraction}`;
}

function valueText(value: Uint8Array | undefined): string {
  return value === undefined ? 'nothing' : `0x${Buffer.from(value).toString('hex')}`;
}

function byCode(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
