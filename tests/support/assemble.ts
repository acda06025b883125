/**
 * Assembles the block device of an accelerated image in an OCI layout into a raw file, layer on layer, so that e2fsck
 * and the kernel can judge it. The lookup that a node does lazily is done here by writing: later layers overwrite
 * earlier ones. Only the ZFile and LSMT readers are accel's.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { ReadAt } from '../../base/byte-source.ts';
import { readLsmtIndex } from '../../formats/lsmt/reader.ts';
import { COMMIT_TAR_HEAD_SIZE, parseCommitTarHead } from '../../formats/zfile/commit-tar.ts';
import { ZFileReader } from '../../formats/zfile/reader.ts';
import { blobPath, type LayoutDescriptor, type LayoutManifest } from './oci-layout.ts';
import { run, withTempDirectory } from './tools.ts';

const ANNOTATION = 'containerd.io/snapshot/overlaybd/';
const PIECE = 4 << 20;

/** The device of an image's layers as a sparse file at `target`; answers its size in bytes. */
export async function assembleDevice(layout: string, manifest: LayoutManifest, target: string): Promise<number> {
  let size = 0;
  for (const layer of manifest.layers) size = await addLayer(layout, layer, target);
  return size;
}

/**
 * Puts one more layer on the device at `target`, which is made if it does not exist; returns the size in bytes. Throws
 * when the layer's virtual size is not that of the device.
 */
export async function addLayer(layout: string, layer: LayoutDescriptor, target: string): Promise<number> {
  const output = await open(target, 'a+').then(async (handle) => {
    await handle.close();
    return open(target, 'r+');
  });
  try {
    const { size } = await output.stat();
    if (layer.annotations?.[`${ANNOTATION}acceleration-layer`] === 'yes') return size;
    const source = layer.annotations?.[`${ANNOTATION}turbo-oci/target-digest`];
    const blob = blobPath(layout, layer.digest);
    const virtualSize =
      source === undefined
        ? await addFullLayer(blob, output, size === 0)
        : await addIndexLayer(blob, blobPath(layout, source), output, size === 0);
    if (size !== 0 && virtualSize !== size) throw new Error(`the layers differ in size: ${size}, ${virtualSize}`);
    await output.truncate(virtualSize);
    return virtualSize;
  } finally {
    await output.close();
  }
}

async function addFullLayer(blob: string, output: FileHandle, fresh: boolean): Promise<number> {
  return withFile(blob, async (read) => {
    const { zfileOffset, zfileSize } = parseCommitTarHead(await read(0, COMMIT_TAR_HEAD_SIZE));
    const zfile = await ZFileReader.open((offset, length) => read(zfileOffset + offset, length), zfileSize);
    return addLsmt(zfile, undefined, output, fresh);
  });
}

async function addIndexLayer(blob: string, source: string, output: FileHandle, fresh: boolean): Promise<number> {
  return withTempDirectory(async (directory) => {
    await run('tar', ['-xzf', blob, '-C', directory]);
    const tar = await plainTar(source, join(directory, 'source.tar'));
    return withFile(join(directory, 'ext4.fs.meta'), (read, size) =>
      withFile(tar, async (readTar) => addLsmt(await ZFileReader.open(read, size), readTar, output, fresh)),
    );
  });
}

/** A source layer uncompressed: the blob itself, or its first gzip member, which is all that a node reads of it. */
async function plainTar(blob: string, target: string): Promise<string> {
  const magic = await withFile(blob, (read) => read(0, 2));
  if (magic[0] !== 0x1f || magic[1] !== 0x8b) return blob;
  await pipeline(createReadStream(blob), createGunzip(), createWriteStream(target));
  return target;
}

/** On a `fresh` device zeros are there already and need no writing: the file stays sparse. */
async function addLsmt(
  zfile: ZFileReader,
  readTar: ReadAt | undefined,
  output: FileHandle,
  fresh: boolean,
): Promise<number> {
  const index = await readLsmtIndex((offset, length) => zfile.read(offset, length), zfile.size);
  for (let i = 0; i < index.count; i++) {
    const segment = index.segment(i);
    if (segment.zeroed && fresh) continue;
    for (let at = 0; at < segment.length; at += PIECE) {
      const length = Math.min(PIECE, segment.length - at);
      await output.write(await content(segment, at, length), 0, length, segment.offset + at);
    }
  }
  return index.virtualSize;

  async function content(segment: ReturnType<typeof index.segment>, at: number, length: number): Promise<Uint8Array> {
    if (segment.zeroed) return new Uint8Array(length);
    if (segment.tag === 0) return zfile.read(segment.moffset + at, length);
    if (readTar === undefined) throw new Error('a full layer points into a source tar');
    return readTar(segment.moffset + at, length);
  }
}

async function withFile<T>(path: string, body: (read: ReadAt, size: number) => Promise<T>): Promise<T> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    return await body(async (offset, length) => {
      const bytes = new Uint8Array(length);
      const { bytesRead } = await handle.read(bytes, 0, length, offset);
      if (bytesRead !== length) throw new Error(`${path}: ${bytesRead} of ${length} bytes at ${offset}`);
      return bytes;
    }, size);
  } finally {
    await handle.close();
  }
}
