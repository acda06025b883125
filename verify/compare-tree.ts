/** Compares the tree on the device with the tree that the source's layers say, everything but content. */

import { Pacer } from '../base/pacer.ts';
import type { RawInode } from '../formats/ext4/inode.ts';
import { ROOT_INODE } from '../formats/ext4/layout.ts';
import type { Ext4Reader } from '../formats/ext4/reader.ts';
import { ContentTasks, MetFiles } from './met-files.ts';
import { NumberMap } from './source-tree/columns.ts';
import type { SourceAttributes, SourceNode } from './source-tree/node.ts';
import { type DifferenceLog, damageText } from './verify-report.ts';

/** Totals of the comparison, and the files whose content is still to be compared. */
export interface ComparedTree {
  readonly paths: number;
  /** Regular files of equal size that the source has a hash of; each inode once, in path order. */
  readonly contents: ContentTasks;
}

/** A directory that is being walked, and the names in it that both sides have. */
interface Walk {
  /** With a slash at its end. */
  readonly path: string;
  readonly node: SourceNode;
  readonly names: readonly string[];
  readonly inodes: ReadonlyMap<string, number>;
  next: number;
}

/** The two sides of one path. */
interface Pair {
  /** Path of the directory that holds it, with a slash at its end; empty for the root. */
  readonly below: string;
  readonly name: string;
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
  const pacer = new Pacer(undefined);
  const walks: Walk[] = [];
  const visit = async (pair: Pair): Promise<void> => {
    onPath(comparison.paths);
    const walk = await comparison.compare(pair);
    if (walk !== undefined) walks.push(walk);
    if (pacer.due) await pacer.pause();
  };
  await visit({ below: '', name: '/', node: root, inode: ROOT_INODE });
  for (let walk = walks.at(-1); walk !== undefined; walk = walks.at(-1)) {
    const name = walk.names[walk.next++];
    if (name === undefined) walks.pop();
    else await visit({ below: walk.path, name, node: walk.node.child(name)!, inode: walk.inodes.get(name)! });
  }
  return comparison;
}

class TreeComparison implements ComparedTree {
  paths = 0;
  readonly contents: ContentTasks;
  readonly #fs: Ext4Reader;
  readonly #log: DifferenceLog;
  /** Paths to everything but directories by row; the row of the first path to each inode, plus one, on either side. */
  readonly #files: MetFiles;
  readonly #rowOfNode = new NumberMap();
  readonly #rowOfInode = new NumberMap();

  constructor(fs: Ext4Reader, log: DifferenceLog) {
    this.#fs = fs;
    this.#log = log;
    this.#files = new MetFiles();
    this.contents = new ContentTasks(this.#files);
  }

  /** Compares one path; of a directory, answers what is to be walked below it. */
  async compare(pair: Pair): Promise<Walk | undefined> {
    const { node, inode: number } = pair;
    const path = pair.below + pair.name;
    this.paths++;
    try {
      const inode = await this.#fs.inode(number);
      const { type } = node.attributes;
      this.#log.tree(path, 'type', type, inode.type);
      if (inode.type !== type) return undefined;
      await this.#compareAttributes(path, node.attributes, inode);
      if (type === 'directory') return await this.#compareDirectory(path, node, inode);
      await this.#compareLinks(pair, inode);
      return undefined;
    } catch (error) {
      this.#log.tree(path, 'inode', 'readable', damageText(error));
      return undefined;
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
  async #compareLinks({ below, name, node, inode: number }: Pair, inode: RawInode): Promise<void> {
    const path = below + name;
    const files = this.#files;
    this.#log.tree(path, 'links', String(node.links), String(inode.links));
    const byNode = this.#rowOfNode.get(node.id) - 1;
    const byInode = this.#rowOfInode.get(number) - 1;
    const isNew = byNode < 0 || files.inode(byNode) !== number;
    if (byNode >= 0 && isNew) this.#log.tree(path, 'hard link', `the file of ${files.path(byNode)}`, 'another file');
    if (byInode >= 0 && files.node(byInode) !== node.id)
      this.#log.tree(path, 'hard link', 'another file', `the file of ${files.path(byInode)}`);
    const row = files.add({ below, name, node, inode: number });
    // A walk meets what has one name in the source once.
    if (byNode < 0 && node.links > 1) this.#rowOfNode.set(node.id, row + 1);
    if (byInode < 0) this.#rowOfInode.set(number, row + 1);
    const { type, size, content } = node.attributes;
    if (type === 'file' && content !== undefined && size === inode.size && isNew)
      this.contents.add({ row, size, block: await firstBlock(this.#fs, inode) });
  }

  async #compareDirectory(path: string, node: SourceNode, inode: RawInode): Promise<Walk> {
    const found = await this.#names(path, inode);
    let links = node.links;
    if (path === '/' && node.child(LOST_AND_FOUND) === undefined) {
      const own = found.get(LOST_AND_FOUND);
      if (own !== undefined && (await this.#isEmptyDirectory(own))) {
        found.delete(LOST_AND_FOUND);
        links++;
      }
    }
    const uncounted = links >= MANY_LINKS && inode.links === 1;
    if (!uncounted) this.#log.tree(path, 'links', String(links), String(inode.links));
    const below = path === '/' ? '/' : `${path}/`;
    const names = node.names.slice();
    for (const name of found.keys()) if (node.child(name) === undefined) names.push(name);
    names.sort(byCode);
    // Most directories are equal on both sides: nothing is copied then.
    let differ = false;
    for (const name of names) {
      const child = node.child(name);
      const dirent = found.get(name);
      if (child !== undefined && dirent !== undefined) continue;
      differ = true;
      if (child !== undefined) this.#log.tree(below + name, 'path', describe(child), 'nothing');
      else this.#log.tree(below + name, 'path', 'nothing', await this.#describeInode(dirent!));
    }
    const common = differ ? names.filter((name) => found.has(name) && node.child(name) !== undefined) : names;
    return { path: below, node, names: common, inodes: found, next: 0 };
  }

  async #names(path: string, directory: RawInode): Promise<Map<string, number>> {
    const names = new Map<string, number>();
    for await (const dirent of this.#fs.entries(directory)) {
      if (names.has(dirent.name)) this.#log.tree(path, 'names', 'each name once', `${dirent.name} twice`);
      names.set(dirent.name, dirent.inode);
    }
    return names;
  }

  async #isEmptyDirectory(inode: number): Promise<boolean> {
    const directory = await this.#fs.inode(inode);
    if (directory.type !== 'directory') return false;
    for await (const _ of this.#fs.entries(directory)) return false;
    return true;
  }

  async #describeInode(inode: number): Promise<string> {
    try {
      return `a ${(await this.#fs.inode(inode)).type}`;
    } catch (error) {
      return damageText(error);
    }
  }
}

function describe({ attributes, names }: SourceNode): string {
  const below = names.length;
  return below === 0 ? `a ${attributes.type}` : `a ${attributes.type} with ${below} names in it`;
}

async function firstBlock(fs: Ext4Reader, inode: RawInode): Promise<number> {
  try {
    return (await fs.extents(inode))[0]?.physical ?? 0;
  } catch (error) {
    // Damage is reported with the path when the file is read; any other error is thrown here.
    damageText(error);
    return 0;
  }
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
