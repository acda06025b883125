/** Accelerated images for the reader's tests: converted on the spot, and put together from the reference's goldens. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConvertRequest } from '../../converter/options.ts';
import type { LayerSpec } from '../../fixtures/image-builder.ts';
import { LAYER_ANNOTATION, LAYER_VERSION } from '../../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { encodeJson } from '../../oci/manifest.ts';
import { OCI } from '../../oci/media-types.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import { convertWithin, request, type TestLayout, testLayout } from '../../tests/support/converter.ts';
import type { TreeEntry } from '../../tests/support/tree.ts';
import type { FileStat, ImageFiles } from '../files.ts';

/** The tags of {@link convertedLayout}. */
export const FULL = 'base_accelerated';
/** See {@link FULL}. */
export const INDEXED = 'base_containerd_accelerated';

const GOLDENS = join(import.meta.dirname, '../../fixtures/goldens');

/** A layout with the image of these layers under `base`, and its two conversions. Remove it in the end. */
export async function convertedLayout(
  layers: readonly LayerSpec[],
  artifact: Partial<ConvertRequest['artifact']> = {},
): Promise<TestLayout> {
  const layout = await testLayout(layers);
  const usual = request();
  await convertWithin(layout.target, { ...usual, artifact: { ...usual.artifact, ...artifact } });
  return layout;
}

/** Puts an image of these layers into `target`, under `tag`. */
export async function putImage(target: MemoryTarget, tag: string, layers: readonly Descriptor[]): Promise<Descriptor> {
  const config = target.put(
    OCI.config,
    encodeJson({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: layers.map((l) => l.digest) },
    }),
  );
  const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers };
  const descriptor = target.put(OCI.manifest, encodeJson(manifest));
  await target.tag(descriptor, tag);
  return descriptor;
}

/** Puts the blob of a full layer. */
export function putFullLayer(target: MemoryTarget, blob: Uint8Array): Descriptor {
  return withAnnotations(target.put(OCI.layer, blob), LAYER_VERSION.full, {});
}

/** Puts the blob of an index-only layer over the source layer `source`. */
export function putIndexOnlyLayer(target: MemoryTarget, blob: Uint8Array, source: Descriptor): Descriptor {
  return withAnnotations(target.put(OCI.layerGzip, blob), LAYER_VERSION['index-only'], {
    [LAYER_ANNOTATION.targetDigest]: source.digest,
    [LAYER_ANNOTATION.targetMediaType]: source.mediaType,
  });
}

function withAnnotations(blob: Descriptor, version: string, more: Record<string, string>): Descriptor {
  return {
    ...blob,
    annotations: {
      [LAYER_ANNOTATION.blobDigest]: blob.digest,
      [LAYER_ANNOTATION.blobSize]: String(blob.size),
      [LAYER_ANNOTATION.version]: version,
      ...more,
    },
  };
}

/** The image that the reference's tools made of fixtures/goldens/input, under the tags `full` and `turbo`. */
export async function goldenTarget(): Promise<MemoryTarget> {
  const target = new MemoryTarget();
  const golden = (path: string): Promise<Uint8Array> => readFile(join(GOLDENS, path));
  const full: Descriptor[] = [];
  const turbo: Descriptor[] = [];
  for (const i of [0, 1]) {
    full.push(putFullLayer(target, await golden(`full/l${i}/overlaybd.commit`)));
    const source = target.put(OCI.layerGzip, await golden(`input/layer${i + 1}.tar.gz`));
    turbo.push(putIndexOnlyLayer(target, await golden(`turbo/l${i}/turboOCIv1.tar.gz`), source));
  }
  await putImage(target, 'full', full);
  await putImage(target, 'turbo', turbo);
  return target;
}

/** The whole tree, in the form in which the independent models give theirs. */
export async function treeOf(files: ImageFiles): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  const first = new Map<number, string>();
  for await (const stat of files.walk()) {
    const known = first.get(stat.inode);
    if (known === undefined || stat.path < known) first.set(stat.inode, stat.path);
  }
  for await (const stat of files.walk()) entries.push(await entryOf(files, stat, first.get(stat.inode)!));
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function entryOf(files: ImageFiles, stat: FileStat, firstLink: string): Promise<TreeEntry> {
  const { path, type, mode, uid, gid, links, mtime, target } = stat;
  const xattrs = [...(await files.xattrs(stat))].map(
    ([name, value]) => [name, Buffer.from(value).toString('hex')] as const,
  );
  const isDevice = type === 'character' || type === 'block';
  return {
    ...{ path, type, mode, uid, gid, firstLink },
    size: type === 'file' || type === 'symlink' ? stat.size : 0,
    mtimeNs: BigInt(mtime.seconds) * 1_000_000_000n + BigInt(mtime.nanoseconds),
    // The root counts the lost+found that the walk leaves out.
    nlink: path === '/' ? (await files.list('/')).filter((child) => child.type === 'directory').length + 2 : links,
    xattrs: xattrs.sort(([a], [b]) => (a < b ? -1 : 1)),
    ...(isDevice ? { device: [stat.deviceMajor, stat.deviceMinor] as const } : {}),
    ...(target === undefined ? {} : { target }),
    ...(type === 'file' ? { sha256: await hashOf(files, stat) } : {}),
  };
}

async function hashOf(files: ImageFiles, stat: FileStat): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of files.content(stat)) hash.update(piece);
  return hash.digest('hex');
}

/** All of a file as text, Latin-1. */
export async function readText(files: ImageFiles, path: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of files.content(path)) pieces.push(piece);
  return Buffer.concat(pieces).toString('latin1');
}
