/** The little of an OCI layout that a benchmark needs: which blobs an image has, and a throw-away copy to convert in. */
import { createReadStream, createWriteStream } from 'node:fs';
import { cp, link, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { FOLDER_PREFIX } from './make-image.ts';

/** An image to convert, as the benchmarks see it. */
export interface BenchImage {
  /** Its OCI layout, where it has the tag `latest`. */
  readonly layout: string;
  /** Its compressed layers as files, lowest first. */
  readonly layers: readonly string[];
  /** Bytes of the layers together. */
  readonly compressed: number;
}

/** The compressed layers' uncompressed tars, as files, while they are needed. */
export interface LayerTars {
  readonly files: readonly string[];
  /** Bytes of them together. */
  readonly size: number;
}

interface Linked {
  readonly digest: string;
}

/** Reads the image with one manifest that a layout holds. */
export async function readImage(layout: string): Promise<BenchImage> {
  const blob = (digest: string) => join(layout, 'blobs', ...digest.split(':'));
  const json = async (path: string) => JSON.parse(await readFile(path, 'utf8')) as unknown;
  const index = (await json(join(layout, 'index.json'))) as { manifests: Linked[] };
  const manifest = (await json(blob(index.manifests[0]!.digest))) as { layers: Linked[] };
  const layers = manifest.layers.map((layer) => blob(layer.digest));
  const sizes = await Promise.all(layers.map(async (path) => (await stat(path)).size));
  return { layout, layers, compressed: sizes.reduce((sum, size) => sum + size, 0) };
}

/**
 * Runs `body` with a copy of a layout beside it that shares the blobs as hard links, so that each round converts into a
 * fresh place and pays nothing for the copy; the copy is removed afterwards.
 */
export async function withCopy<T>(layout: string, body: (copy: string) => Promise<T>): Promise<T> {
  const copy = await mkdtemp(join(dirname(layout), `${FOLDER_PREFIX}round-`));
  try {
    const blobs = join('blobs', 'sha256');
    await mkdir(join(copy, blobs), { recursive: true });
    for (const name of ['index.json', 'oci-layout']) await cp(join(layout, name), join(copy, name));
    for (const name of await readdir(join(layout, blobs)))
      await link(join(layout, blobs, name), join(copy, blobs, name));
    return await body(copy);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** Runs `body` with the tars of gzip-compressed layers in a folder of `directory` that is gone afterwards. */
export async function withTars<T>(
  directory: string,
  layers: readonly string[],
  body: (tars: LayerTars) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(directory, `${FOLDER_PREFIX}tars-`));
  try {
    const files: string[] = [];
    let size = 0;
    for (const [index, layer] of layers.entries()) {
      const file = join(folder, `${index}.tar`);
      await pipeline(createReadStream(layer), createGunzip({ chunkSize: 1 << 20 }), createWriteStream(file));
      files.push(file);
      size += (await stat(file)).size;
    }
    return await body({ files, size });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Reads files to their ends, so that they are in memory before the first round as they are before the others. */
export async function readThrough(files: readonly string[]): Promise<void> {
  for (const file of files) {
    await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), async (chunks: AsyncIterable<Buffer>) => {
      for await (const _ of chunks);
    });
  }
}

/** Bytes of the tars of an image that `makeImage` made. */
export async function tarSize(layout: string): Promise<number> {
  const sizes = JSON.parse(await readFile(join(layout, 'tar-sizes.json'), 'utf8')) as readonly number[];
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Bytes of the blobs in a copy that the original does not have: what a conversion pushed. */
export async function bytesAdded(original: string, copy: string): Promise<number> {
  const blobs = join('blobs', 'sha256');
  const known = new Set(await readdir(join(original, blobs)));
  const added = (await readdir(join(copy, blobs))).filter((name) => !known.has(name));
  const sizes = await Promise.all(added.map(async (name) => (await stat(join(copy, blobs, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
