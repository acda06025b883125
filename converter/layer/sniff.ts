/** Detects the compression of a source layer by its content, whatever its media type, and decompresses the tar. */
import { AccelError } from '../../base/error.ts';
import type { GzipSummary } from '../../formats/gzip/stream.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { Digester } from '../../oci/digest.ts';
import { layerCompression } from '../../oci/media-types.ts';
import type { GunzipOptions } from './workers/gunzip-thread.ts';
import type { Threads } from './workers/threads.ts';

/** Compression of a layer's blob. */
export type Compression = 'none' | 'gzip' | 'zstd';

/** Facts about a layer that was read to its end. */
export interface SourceSummary {
  /** The blob, with the media type that its content has. */
  readonly descriptor: Descriptor;
  readonly compression: Compression;
  /** Bytes of the uncompressed tar. */
  readonly tarSize: number;
  /** Set for gzip; with access points if they were requested. */
  readonly gzip: GzipSummary | undefined;
}

/** First bytes of the formats that a layer may have. */
const MAGICS: readonly {
  readonly magic: readonly number[];
  readonly name: string;
  readonly compression?: Compression;
}[] = [
  { magic: [0x1f, 0x8b], name: 'gzip', compression: 'gzip' },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], name: 'zstd', compression: 'zstd' },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], name: 'xz' },
  { magic: [0x42, 0x5a, 0x68], name: 'bzip2' },
  { magic: [0x04, 0x22, 0x4d, 0x18], name: 'lz4' },
];
/** Bytes from the start of a blob that identify its compression. */
export const SNIFF_SIZE = 5;

/** Detects the compression by the first bytes of a blob. Throws `layer-unsupported` for one that no runtime supports. */
export function compressionOf(first: Uint8Array): Compression {
  // Skippable frames, 0x184d2a50 to 0x184d2a5f, may come before those of zstd.
  const isSkippable = (first[0]! & 0xf0) === 0x50 && first[1] === 0x2a && first[2] === 0x4d && first[3] === 0x18;
  if (isSkippable) return 'zstd';
  const known = MAGICS.find((m) => m.magic.every((byte, i) => first[i] === byte));
  if (known === undefined) return 'none';
  if (known.compression !== undefined) return known.compression;
  throw new AccelError('layer-unsupported', `the layer is compressed with ${known.name}`, {
    expected: 'a tar, plain or compressed with gzip or zstd',
    found: known.name,
    hint: 'rebuild the image with gzip or zstd layers',
  });
}

/** A blob whose first bytes were examined. */
export interface SniffedLayer {
  readonly compression: Compression;
  /** The whole blob, with its first bytes; a piece is valid until the next is requested. */
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Set if the media type differs from the content; the content counts. */
  readonly mismatch: string | undefined;
}

/** Detects a blob's compression by its content. Throws `layer-unsupported` for one that no runtime supports. */
export async function sniffLayer(source: AsyncIterator<Uint8Array>, mediaType: string): Promise<SniffedLayer> {
  const head: Uint8Array[] = [];
  let size = 0;
  while (size < SNIFF_SIZE) {
    const next = await source.next();
    if (next.done === true) break;
    size += next.value.length;
    head.push(size < SNIFF_SIZE ? next.value.slice() : next.value);
  }
  const first = head.length === 1 ? head[0]! : Buffer.concat(head);
  const compression = compressionOf(first);
  const declared = layerCompression(mediaType);
  return {
    compression,
    bytes: chain(first, source),
    mismatch:
      declared === compression || declared === undefined
        ? undefined
        : `the media type says ${declared === 'none' ? 'no compression' : declared}, the content is ${compression === 'none' ? 'not compressed' : compression}`,
  };
}

/** Facts about the uncompressed tar of a layer. */
export interface TarSummary {
  /** Digest of the tar: its diff_id. */
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  /** Set for gzip. */
  readonly gzip: GzipSummary | undefined;
}

/** Yields the tar of a layer in pieces that are valid until the next is requested; returns facts about it. */
export async function* decompress(
  layer: SniffedLayer,
  { span, size }: Pick<GunzipOptions, 'span' | 'size'>,
  threads: Threads,
): AsyncGenerator<Uint8Array, TarSummary> {
  if (layer.compression === 'gzip') {
    const { gzip, digest } = yield* threads.gunzip(layer.bytes, { span, size, members: 'any' });
    return { digest, size: gzip.uncompressedSize, gzip };
  }
  if (layer.compression === 'zstd') return yield* measured(threads.unzstd(layer.bytes, size));
  const digester = new Digester();
  for await (const piece of layer.bytes) {
    digester.update(piece);
    yield piece;
  }
  return { digest: digester.digest(), size: digester.size, gzip: undefined };
}

async function* measured(tar: AsyncGenerator<Uint8Array, string>): AsyncGenerator<Uint8Array, TarSummary> {
  let size = 0;
  for (let next = await tar.next(); ; next = await tar.next()) {
    if (next.done === true) return { digest: next.value, size, gzip: undefined };
    size += next.value.length;
    yield next.value;
  }
}

/** Yields `first` and the rest; leaving this generator early does not end the iterator. */
async function* chain(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
