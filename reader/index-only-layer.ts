/**
 * Opens an index-only layer (docs/formats.md §5): its metadata and index from its own blob (turbo-blob.ts); the data stays
 * in the source layer and is read from there in parts.
 */
import { AccelError, withPlace } from '../base/error.ts';
import type { SeekIndex } from '../formats/gzip/points.ts';
import { TAG_REMOTE } from '../formats/lsmt/layout.ts';
import { type LsmtIndex, readLsmtIndex } from '../formats/lsmt/reader.ts';
import { LAYER_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { ZFileReader } from '../formats/zfile/reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { assertDigest } from '../oci/digest.ts';
import { layerCompression } from '../oci/media-types.ts';
import { type BlockBackend, BlockStore } from './block-store.ts';
import type { StackLayer } from './layer.ts';
import type { OpenContext } from './open-context.ts';
import { startupRangesOf } from './startup-size.ts';
import { GzipTarBlocks, PlainTarBlocks } from './tar-blocks.ts';
import { openTurboBlob } from './turbo-blob.ts';
import { ZFileBlocks } from './zfile-blocks.ts';

/** Opens the layer that `descriptor`, the `index`-th of the manifest, names. */
export async function openIndexOnlyLayer(
  index: number,
  descriptor: Descriptor,
  context: OpenContext,
): Promise<StackLayer> {
  const { traffic, cache } = context;
  const { fsMeta, gzipIndex, diffId } = await openTurboBlob(descriptor, context);
  const read = async (offset: number, length: number) => fsMeta.subarray(offset, offset + length);
  const zfile = await ZFileReader.open(read, fsMeta.length).catch((error: unknown) => {
    throw withPlace(error, { file: 'ext4.fs.meta' });
  });
  const lsmt = await readLsmtIndex((offset, length) => zfile.read(offset, length), zfile.size);
  const source = await sourceOf(descriptor, gzipIndex, context);
  const readSource = (offset: number, length: number) => traffic.range(source, offset, length);
  const tar = gzipIndex ? new GzipTarBlocks(gzipIndex, readSource) : new PlainTarBlocks(source.size, readSource);
  checkRemote(lsmt, tar, source);
  return {
    info: {
      index,
      kind: 'index-only',
      descriptor,
      segments: lsmt.count,
      size: descriptor.size,
      algorithm: zfile.algorithm,
      blockSize: zfile.blockSize,
      lsmt,
      source,
      sourceDigest: source.digest,
      ...(gzipIndex === undefined ? {} : { gzipIndex }),
      ...(diffId === undefined ? {} : { diffId }),
    },
    local: new BlockStore(new ZFileBlocks(zfile, { read }), cache, 2 * index),
    remote: new BlockStore(tar, cache, 2 * index + 1, startupRangesOf(descriptor, tar.startOf(tar.count))),
  };
}

/** The source layer by the annotations. The manifest does not have its size: the gzip index or the target knows it. */
async function sourceOf(
  descriptor: Descriptor,
  gzipIndex: SeekIndex | undefined,
  { traffic }: OpenContext,
): Promise<Descriptor> {
  const { annotations = {} } = descriptor;
  const digest = assertDigest(annotations[LAYER_ANNOTATION.targetDigest] ?? '', 'manifest-invalid', {
    annotation: LAYER_ANNOTATION.targetDigest,
  });
  const mediaType = annotations[LAYER_ANNOTATION.targetMediaType] ?? '';
  const isGzip = layerCompression(mediaType) === 'gzip';
  if (isGzip !== (gzipIndex !== undefined) || layerCompression(mediaType) === undefined)
    throw new AccelError('turbo-invalid', 'the index-only layer does not fit the media type of its source layer', {
      where: { source: digest },
      expected: gzipIndex === undefined ? 'a plain tar' : 'a gzip-compressed tar',
      found: mediaType || 'no media type',
      hint: 'convert the image again',
    });
  return { mediaType, digest, size: gzipIndex?.compressedSize ?? (await traffic.blobSize(digest)) };
}

function checkRemote(lsmt: LsmtIndex, tar: BlockBackend, source: Descriptor): void {
  const size = tar.startOf(tar.count);
  for (let i = 0; i < lsmt.count; i++) {
    const segment = lsmt.segment(i);
    if (segment.tag !== TAG_REMOTE || segment.zeroed || segment.moffset + segment.length <= size) continue;
    throw new AccelError('turbo-invalid', 'the layer points beyond the end of its source layer', {
      where: { source: source.digest, segment: i },
      expected: `up to byte ${size} of the tar`,
      found: segment.moffset + segment.length,
      hint: 'convert the image again: the index belongs to another layer',
    });
  }
}
