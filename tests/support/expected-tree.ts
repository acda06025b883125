/**
 * The tree that the layers of an image say, from two sources that share no code with accel: Python's tar reader with
 * the OCI rules in memory, and GNU tar on disk.
 */
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, withTempDirectory } from './tools.ts';
import { parseTree, type TreeEntry } from './tree.ts';

/** A layer as a file or as bytes: a tar, plain or gzip or zstd. */
export type LayerInput = string | Uint8Array;

/** The tree of the layers, lowest first, by Python's tar reader and the rules of flatten_layers.py. */
export async function expectedTree(layers: readonly LayerInput[]): Promise<TreeEntry[]> {
  return parseTree(await flatten(layers, []));
}

/** The trees of the first layer, the first two, and so on to all of them; each layer is read once. */
export async function expectedTrees(layers: readonly LayerInput[]): Promise<TreeEntry[][]> {
  const output = await flatten(layers, ['--prefixes']);
  return layers.map((_, index) => {
    const start = index === 0 ? 0 : nthEmptyLine(output, index);
    return parseTree(output.subarray(start, nthEmptyLine(output, index + 1)));
  });
}

/** Byte behind the nth empty line, counted from 1. */
function nthEmptyLine(output: Buffer, n: number): number {
  let at = 0;
  for (let i = 0; i < n; i++) at = output.indexOf('\n\n', at) + 2;
  return at;
}

async function flatten(layers: readonly LayerInput[], flags: readonly string[]): Promise<Buffer> {
  return withTempDirectory(async (directory) => {
    const files = await asFiles(directory, layers);
    const { stdout } = await run('python3', [join(import.meta.dirname, 'flatten_layers.py'), ...flags, ...files]);
    return stdout;
  });
}

/**
 * The tree of the layers by GNU tar and this machine's kernel. Needs root, and refuses layers that write through
 * symlinks. Slower than {@link expectedTree}, and the reason to trust it.
 */
export async function systemTarTree(layers: readonly LayerInput[]): Promise<TreeEntry[]> {
  return withTempDirectory(async (directory) => {
    const root = join(directory, 'root');
    await mkdir(root);
    const plain: string[] = [];
    for (const [index, file] of (await asFiles(directory, layers)).entries()) {
      plain.push(await decompressed(file, join(directory, `plain-${index}.tar`)));
    }
    const { stdout } = await run('python3', [join(import.meta.dirname, 'system_tar_tree.py'), root, ...plain]);
    return parseTree(stdout);
  });
}

async function asFiles(directory: string, layers: readonly LayerInput[]): Promise<string[]> {
  return Promise.all(
    layers.map(async (layer, index) => {
      if (typeof layer === 'string') return layer;
      const path = join(directory, `layer-${index}`);
      await writeFile(path, layer);
      return path;
    }),
  );
}

/** The plain tar of a layer: the file itself, or what it decompresses to, written to `target`. */
async function decompressed(file: string, target: string): Promise<string> {
  const handle = await open(file);
  const magic = await handle
    .read(Buffer.alloc(4), 0, 4, 0)
    .then(({ buffer }) => buffer.toString('hex'))
    .finally(() => handle.close());
  const tool = magic.startsWith('1f8b') ? 'gzip' : magic === '28b52ffd' ? 'zstd' : undefined;
  if (tool === undefined) return file;
  await run('sh', ['-c', `${tool} -dc <"$1" >"$2"`, 'sh', file, target]);
  return target;
}

/**
 * A tree without POSIX ACLs, for a comparison with {@link systemTarTree}: GNU tar writes one as
 * `SCHILY.xattr.system.posix_acl_access` when it is asked for all xattrs, and never reads it back.
 */
export function withoutAcls(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries.map((entry) => ({
    ...entry,
    xattrs: entry.xattrs.filter(([name]) => !name.startsWith('system.posix_acl_')),
  }));
}
