/** containerd as a judge: what nodes unpack of an image. A daemon of the test's own, with its own socket and folders. */
import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chainIds } from '../../converter/layer/chain.ts';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { digestOf } from '../../oci/digest.ts';
import { requireTool, run, withTempDirectory } from './tools.ts';
import { parseTree, type TreeEntry } from './tree.ts';

/** The needs of containerd's snapshotters; a `describeWith` for tests that use {@link withContainerd}. */
export const CONTAINERD_NEEDS = {
  tools: ['containerd', 'ctr', 'tar', 'python3', 'mount', 'umount'],
  root: true,
} as const;

/** `native` copies each layer's directory and applies the next one to it; `overlayfs` keeps each layer by itself. */
export type Snapshotter = 'native' | 'overlayfs';

/** An image as the tars of its layers, lowest first. */
export type ImageTars = readonly Uint8Array[];

/** A tree, or why containerd refused the image. */
export type UnpackedTree = { readonly tree: TreeEntry[] } | { readonly complaint: string };

/** A running containerd. */
export interface Containerd {
  /** The tree of each image when it is unpacked. */
  unpack(images: readonly ImageTars[], snapshotter: Snapshotter): Promise<UnpackedTree[]>;
}

const WALK = join(import.meta.dirname, 'walk_tree.py');

/** Plugins that would look for devices or daemons of the machine, or for containers to run. */
const UNUSED = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.restart',
  'io.containerd.runtime.v1.linux',
  'io.containerd.runtime.v2.task',
  ...['aufs', 'btrfs', 'devmapper', 'zfs'].map((name) => `io.containerd.snapshotter.v1.${name}`),
];

/**
 * For each NAME CHAIN pair of its standard input: imports the image in the folder NAME, and lists the tree of its topmost
 * snapshot into NAME.tree; prints the names that were refused, with the reason in NAME.log.
 */
const UNPACK = `
cd "$2"
trap 'umount target 2>/dev/null || true' EXIT
while read -r name chain; do
  tar -C "$name" -cf image.tar .
  if ! "$5" --address "$1" images import --snapshotter "$3" image.tar >"$name.log" 2>&1; then echo "$name"; continue; fi
  "$5" --address "$1" snapshots --snapshotter "$3" view --target target "view-$3-$name" "$chain" >mount.sh
  sh -e mount.sh
  python3 "$4" target >"$name.tree"
  umount target
done
`;

/** Runs `body` with a containerd that is gone afterwards, with all that it made. */
export async function withContainerd<T>(body: (containerd: Containerd) => Promise<T>): Promise<T> {
  return withTempDirectory(async (directory) => {
    const socket = join(directory, 'socket');
    const config = join(directory, 'config.toml');
    await writeFile(
      config,
      [
        'version = 2',
        `root = "${directory}/root"`,
        `state = "${directory}/state"`,
        `disabled_plugins = ${JSON.stringify(UNUSED)}`,
        '[grpc]',
        `  address = "${socket}"`,
        '[debug]',
        '  level = "error"',
      ].join('\n'),
    );
    const daemon = spawn(requireTool('containerd'), ['--config', config], { stdio: 'ignore' });
    const gone = new Promise<void>((resolve) => {
      daemon.once('exit', () => resolve());
      daemon.once('error', () => resolve());
    });
    try {
      // Waits for the socket by itself.
      await run('ctr', ['--address', socket, '--connect-timeout', '60s', 'version']);
      return await body({ unpack: (images, snapshotter) => unpack({ directory, socket }, images, snapshotter) });
    } finally {
      daemon.kill('SIGTERM');
      await gone;
    }
  });
}

let batches = 0;

async function unpack(
  { directory, socket }: { readonly directory: string; readonly socket: string },
  images: readonly ImageTars[],
  snapshotter: Snapshotter,
): Promise<UnpackedTree[]> {
  const batch = batches++;
  const work = join(directory, `batch-${batch}`);
  await mkdir(join(work, 'target'), { recursive: true });
  const names = images.map((_, i) => `image-${batch}-${i}`);
  const lines: string[] = [];
  for (const [i, tars] of images.entries()) {
    const layers = tars.map((tar) => ({ tar, compression: 'none' as const }));
    await buildLayout(join(work, names[i]!), names[i]!, layers);
    lines.push(`${names[i]} ${chainIds(tars.map(digestOf)).at(-1)}\n`);
  }
  const args = ['-c', UNPACK, 'sh', socket, work, snapshotter, WALK, requireTool('ctr')];
  const { stdout } = await run('sh', ['-e', ...args], { input: lines.join(''), timeout: 600_000 });
  const refused = new Set(stdout.toString('utf8').split('\n'));
  return Promise.all(
    names.map(async (name): Promise<UnpackedTree> => {
      if (refused.has(name)) return { complaint: await readFile(join(work, `${name}.log`), 'latin1') };
      return { tree: parseTree(await readFile(join(work, `${name}.tree`))) };
    }),
  );
}
