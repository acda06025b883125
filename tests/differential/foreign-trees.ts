/** The trees that others make of images: umoci, which applies layers, and GNU tar, which extracts one. Both need root. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { run, withTempDirectory } from '../support/tools.ts';
import { parseTree, type TreeEntry } from '../support/tree.ts';

const WALK = join(import.meta.dirname, '../support/walk_tree.py');

/** Unpacks each tag of the layout $1 and lists the tree; one directory exists at a time. */
const UNPACK = `
cd "$2"
for tag in $3; do
  umoci unpack --image "$1:$tag" bundle >"$tag.log" 2>&1 || { echo "$tag"; rm -rf bundle; continue; }
  python3 "$4" bundle/rootfs >"$tag.tree"
  rm -rf bundle
done
`;

/** Extracts each tar of $1 as an unpacker would that knows tars alone, and lists the tree. */
const EXTRACT = `
cd "$1"
umask 022
for tar in *.tar; do
  mkdir root && chmod 755 root && touch -d @0 root
  tar --extract --preserve-permissions --same-owner --numeric-owner --xattrs --xattrs-include='*' --acls \\
    --delay-directory-restore --directory root --file "$tar" >"$tar.log" 2>&1 || echo "$tar"
  python3 "$2" root >"\${tar%.tar}.tree"
  rm -rf root
done
`;

/** A tree, or what the tool said instead of one. */
export type ForeignTree = { readonly tree: TreeEntry[] } | { readonly complaint: string };

/** The result of `umoci unpack` for each image, given as the tars of its layers. */
export async function umociTrees(images: readonly (readonly Uint8Array[])[]): Promise<ForeignTree[]> {
  return withTempDirectory(async (directory) => {
    const layout = join(directory, 'layout');
    const tags = images.map((_, i) => `image-${i}`);
    for (const [i, tars] of images.entries())
      await buildLayout(
        layout,
        tags[i]!,
        tars.map((tar) => ({ tar, compression: 'none' as const })),
      );
    const work = join(directory, 'work');
    await mkdir(work);
    const { stdout } = await run('sh', ['-ec', UNPACK, 'sh', layout, work, tags.join(' '), WALK]);
    return collected(work, tags, stdout, '');
  });
}

/** The tree that GNU tar extracts from each tar, upon an empty root of mode 0755 and time 0. */
export async function extractedTrees(tars: readonly Uint8Array[]): Promise<ForeignTree[]> {
  return withTempDirectory(async (directory) => {
    const names = tars.map((_, i) => `layer-${i}`);
    for (const [i, tar] of tars.entries()) await writeFile(join(directory, `${names[i]}.tar`), tar);
    const { stdout } = await run('sh', ['-ec', EXTRACT, 'sh', directory, WALK]);
    return collected(directory, names, stdout, '.tar');
  });
}

async function collected(
  directory: string,
  names: readonly string[],
  failed: Buffer,
  suffix: string,
): Promise<ForeignTree[]> {
  const complaints = new Set(failed.toString('utf8').split('\n'));
  return Promise.all(
    names.map(async (name) => {
      if (complaints.has(`${name}${suffix}`))
        return { complaint: await readFile(join(directory, `${name}${suffix}.log`), 'latin1') };
      return { tree: parseTree(await readFile(join(directory, `${name}.tree`))) };
    }),
  );
}
