/** The whole judgement of a converted image: every layer prefix is sound ext4 and shows the tree that its layers say. */
import { join } from 'node:path';
import { addLayer } from './assemble.ts';
import { expectedTrees, type LayerInput } from './expected-tree.ts';
import { e2fsck, MountRefused, pathsWithMixedTimes, readTree, type TreeReader } from './ext4-judge.ts';
import type { LayoutManifest } from './oci-layout.ts';
import { isRoot, run, withTempDirectory } from './tools.ts';
import { diffTrees, type TreeEntry } from './tree.ts';

/** Tools that {@link judgeImage} needs. */
export const JUDGE_TOOLS: readonly string[] = ['e2fsck', 'debugfs', 'python3', 'mount'];

/** Counts of what was judged, so that a test can see that it was not empty. */
export interface Judgement {
  readonly prefixes: number;
  /** Paths of the tree of all layers. */
  readonly paths: number;
  /** Who read the trees. */
  readonly reader: TreeReader;
}

/**
 * Assembles the device of each prefix of the image's layers, has e2fsck check it, and compares its tree with the one
 * that the source layers say. Throws an Error that names the prefix and lists the differences.
 */
export async function judgeImage(
  layout: string,
  manifest: LayoutManifest,
  sources: readonly LayerInput[],
): Promise<Judgement> {
  if (manifest.layers.length !== sources.length) {
    throw new Error(`${manifest.layers.length} layers were made of ${sources.length}`);
  }
  return withTempDirectory(async (directory) => {
    const device = join(directory, 'device');
    const trees = await expectedTrees(sources);
    let reader: TreeReader = 'kernel';
    for (const [index, layer] of manifest.layers.entries()) {
      await addLayer(layout, layer, device);
      reader = await judgePrefix(device, trees[index]!, index + 1);
    }
    await judgeWriting(device, join(directory, 'written'));
    return { prefixes: trees.length, paths: trees.at(-1)?.length ?? 0, reader };
  });
}

async function judgePrefix(device: string, expected: readonly TreeEntry[], prefix: number): Promise<TreeReader> {
  await e2fsck(device).catch((cause: Error) => {
    throw new Error(`e2fsck on layers 1 to ${prefix}: ${cause.message}`, { cause });
  });
  const keepLostAndFound = expected.some((entry) => entry.path === '/lost+found');
  const { entries, reader } = await readTree(device, { keepLostAndFound });
  const differences = diffTrees(expected, entries);
  if (differences.length > 0) throw new Error(`the tree of layers 1 to ${prefix} differs:\n${differences.join('\n')}`);
  const mixed = pathsWithMixedTimes(entries);
  if (mixed.length > 0) throw new Error(`atime, ctime and mtime differ in layers 1 to ${prefix}: ${mixed.join(' ')}`);
  return reader;
}

/** A container's upper directory may live on the device: it must take writes and stay sound. */
const WRITE = `
mount -o loop "$1" "$2"
trap 'umount "$2"' EXIT
mkdir "$2/accel-written" && cp -a /etc/passwd "$2/accel-written/" && ln "$2/accel-written/passwd" "$2/accel-link"
for i in $(seq 300); do : >"$2/accel-written/file-with-a-long-name-$i"; done
rm "$2/accel-written/file-with-a-long-name-7"
`;

async function judgeWriting(device: string, copy: string): Promise<void> {
  if (!isRoot()) return;
  await run('cp', ['--sparse=always', device, copy]);
  await withTempDirectory(async (directory) => {
    try {
      await run('sh', ['-ec', WRITE, 'sh', copy, directory]);
    } catch (error) {
      // A machine without loop devices cannot judge this; a mount that works and then fails is the image's fault.
      if (/failed to setup loop device|permission denied/i.test((error as Error).message)) return;
      throw new MountRefused(`writing to the device: ${(error as Error).message}`, { cause: error });
    }
    await e2fsck(copy);
  });
}
