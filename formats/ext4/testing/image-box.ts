/** A file system in a temporary directory, to be filled with layers and held before the judges. */
import { join } from 'node:path';
import type { TarBuilder } from '../../../fixtures/tar-builder.ts';
import { e2fsck, readTree } from '../../../tests/support/ext4-judge.ts';
import { RawImage, type WrittenLayer } from '../../../tests/support/raw-image.ts';
import { withTempDirectory } from '../../../tests/support/tools.ts';
import { formatEntry, type TreeEntry, withoutLostAndFound } from '../../../tests/support/tree.ts';
import type { Ext4Image, Ext4ImageOptions } from '../ext4-image.ts';
import { GROUP_BYTES } from '../layout.ts';
import { readerTree } from './reader-tree.ts';

/** The smallest file system: enough for most tests, and e2fsck is done with it in no time. */
export const SMALL: Ext4ImageOptions = { virtualSize: 2 * GROUP_BYTES };

/** A file system in a sparse file. */
export interface ImageBox {
  /** The sparse file. */
  readonly path: string;
  readonly image: Ext4Image;
  /** Applies and commits one layer, handed over in chunks of `chunk` bytes. */
  layer(tar: TarBuilder | Uint8Array, chunk?: number): WrittenLayer;
  /** Throws with what e2fsck says unless it finds nothing. */
  check(): Promise<void>;
  /** The tree as accel's reader sees it, without `/lost+found` unless `all`. */
  tree(all?: boolean): Promise<TreeEntry[]>;
  /** The tree as the kernel sees it, or debugfs where mounting is not allowed. */
  foreignTree(all?: boolean): Promise<TreeEntry[]>;
  /** The paths, as `path` or, with a letter in front, `d path`. */
  paths(): Promise<string[]>;
}

/** Runs `body` with a fresh file system that is gone afterwards. */
export async function withImage<T>(options: Ext4ImageOptions, body: (box: ImageBox) => Promise<T>): Promise<T> {
  return withTempDirectory(async (directory) => {
    const path = join(directory, 'image.ext4');
    const raw = new RawImage(path, options);
    try {
      const tree = async (all = false): Promise<TreeEntry[]> => {
        const entries = await readerTree(path);
        return all ? entries : withoutLostAndFound(entries);
      };
      return await body({
        path,
        image: raw.image,
        layer: (tar, chunk = 1 << 16) => raw.apply(chunksOf(tar instanceof Uint8Array ? tar : tar.build(), chunk)),
        check: () => e2fsck(path),
        tree,
        foreignTree: async (all = false) => (await readTree(path, { keepLostAndFound: all })).entries,
        paths: async () => (await tree()).map((entry) => `${formatEntry(entry)[0]} ${entry.path}`),
      });
    } finally {
      raw.close();
    }
  });
}

function* chunksOf(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
