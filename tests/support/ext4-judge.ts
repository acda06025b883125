/** Judges of an ext4 image that nobody here wrote: e2fsck, the kernel's driver, and debugfs where mounting is not allowed. */
import { join } from 'node:path';
import { isRoot, requireTool, run, withTempDirectory } from './tools.ts';
import { parseTree, type TreeEntry, withoutLostAndFound } from './tree.ts';

const SCRIPTS = import.meta.dirname;

/** Throws with everything that `e2fsck -fn` says unless it finds nothing at all to say (exit 0). */
export async function e2fsck(image: string): Promise<void> {
  await run('e2fsck', ['-fn', image]);
}

/** Who read a tree. */
export type TreeReader = 'kernel' | 'debugfs';

/** A tree and who read it. */
export interface ReadTree {
  readonly reader: TreeReader;
  readonly entries: TreeEntry[];
}

/** Options of {@link readTree}. */
export interface ReadTreeOptions {
  /** Whether `/lost+found` belongs to the image, because a layer of it brings one. */
  readonly keepLostAndFound?: boolean;
  /** One reader and no other; by default the kernel where it is allowed, else debugfs. */
  readonly reader?: TreeReader;
}

/** Every path of a raw ext4 image, sorted. The image is not changed. */
export async function readTree(image: string, options: ReadTreeOptions = {}): Promise<ReadTree> {
  const { reader, lines } = await readLines(image, options.reader);
  const entries = parseTree(lines);
  return { reader, entries: options.keepLostAndFound === true ? entries : withoutLostAndFound(entries) };
}

async function readLines(
  image: string,
  wanted: TreeReader | undefined,
): Promise<{ reader: TreeReader; lines: Buffer }> {
  if (wanted !== 'debugfs' && (wanted === 'kernel' || isRoot())) {
    try {
      return { reader: 'kernel', lines: await withMounted(image, walkTree) };
    } catch (error) {
      // A container may be root and still not be given a loop device; a bad image is debugfs's to complain about too.
      if (wanted === 'kernel' || !(error instanceof MountRefused)) throw error;
    }
  }
  return { reader: 'debugfs', lines: await debugfsTree(image) };
}

/** The kernel, or this machine's rules, would not mount an image; the message is mount's own. */
export class MountRefused extends Error {
  override readonly name = 'MountRefused';
}

/** Runs `body` on a read-only mount of the image; unmounts whatever happens. Needs root. */
export async function withMounted<T>(image: string, body: (directory: string) => Promise<T>): Promise<T> {
  return withTempDirectory(async (directory) => {
    try {
      await run('mount', ['-t', 'ext4', '-o', 'loop,ro,noload', image, directory]);
    } catch (error) {
      throw new MountRefused((error as Error).message, { cause: error });
    }
    try {
      return await body(directory);
    } finally {
      await run('umount', [directory]);
    }
  });
}

/** The records of a directory as the kernel shows it, for {@link parseTree}. */
export async function walkTree(directory: string): Promise<Buffer> {
  const { stdout } = await run('python3', [join(SCRIPTS, 'walk_tree.py'), directory]);
  return stdout;
}

async function debugfsTree(image: string): Promise<Buffer> {
  return withTempDirectory(async (scratch) => {
    const script = join(SCRIPTS, 'debugfs_tree.py');
    const { stdout } = await run('python3', [script, requireTool('debugfs'), image, scratch]);
    return stdout;
  });
}

/** The paths whose access, change and modification times are not one and the same, as accel writes them. */
export function pathsWithMixedTimes(entries: readonly TreeEntry[]): string[] {
  return entries
    .filter((entry) => entry.atimeNs !== entry.mtimeNs || entry.ctimeNs !== entry.mtimeNs)
    .map((entry) => entry.path);
}
