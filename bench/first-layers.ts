/** Makes the image of the lowest layers of another one, in a layout that shares its blobs. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

interface Named {
  readonly digest: string;
}

/** Replaces the only image of a layout, `latest`, by its lowest `count` layers. */
export async function keepFirstLayers(layout: string, count: number): Promise<void> {
  const pathOf = ({ digest }: Named): string => join(layout, 'blobs', ...digest.split(':'));
  const json = async <T>(path: string): Promise<T> => JSON.parse(await readFile(path, 'utf8')) as T;
  const put = async (document: object): Promise<{ readonly digest: string; readonly size: number }> => {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await writeFile(pathOf({ digest }), bytes);
    return { digest, size: bytes.length };
  };
  const indexPath = join(layout, 'index.json');
  const index = await json<{ readonly manifests: readonly Named[] }>(indexPath);
  const [named] = index.manifests;
  const manifest = await json<{ readonly config: Named; readonly layers: readonly Named[] }>(pathOf(named!));
  const { history: _, ...config } = await json<{
    readonly rootfs: { readonly diff_ids: readonly string[] };
    readonly history?: unknown;
  }>(pathOf(manifest.config));
  const rootfs = { ...config.rootfs, diff_ids: config.rootfs.diff_ids.slice(0, count) };
  const short = {
    ...manifest,
    config: { ...manifest.config, ...(await put({ ...config, rootfs })) },
    layers: manifest.layers.slice(0, count),
  };
  await writeFile(indexPath, JSON.stringify({ ...index, manifests: [{ ...named, ...(await put(short)) }] }));
}
