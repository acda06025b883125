/** Writes a layer of generated files as a compressed blob, streaming; the tar's bytes depend on the recipe alone. */
import { createHash, type Hash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { Zstd } from '@hpcc-js/wasm-zstd';
import { type Pack, pack } from 'tar-stream';
import { type ContentKind, fill, Random } from './content.ts';
import type { FileGroup } from './mixes.ts';

/** Compression of a blob. */
export type LayerCompression = { readonly kind: 'gzip' | 'zstd'; readonly level: number };

/** Everything that decides the bytes of a generated tar. */
export interface LayerRecipe {
  readonly seed: number;
  readonly mix: readonly FileGroup[];
  /** Share of the mix's files to make; above 1 there are more of them. */
  readonly scale: number;
  /** Folder that the mix's folders stand in, so that layers do not overwrite each other; none when empty. */
  readonly prefix?: string;
}

/** Facts about the layer that was written. */
export interface LayerFacts {
  readonly diffId: string;
  readonly digest: string;
  /** Bytes of the blob. */
  readonly size: number;
  /** Bytes of the uncompressed tar. */
  readonly tarSize: number;
}

/** Content is generated and handed to tar in pieces of this many bytes. */
const PIECE = 1 << 20;

/** Every time in a generated layer, 2024-01-01. */
const MTIME = new Date(1_704_067_200_000);

/** Writes the layer into the folder `blobs` under its digest. */
export async function writeLayer(
  blobs: string,
  recipe: LayerRecipe,
  compression: LayerCompression,
): Promise<LayerFacts> {
  const path = join(blobs, 'layer');
  const plain = createHash('sha256');
  const packed = createHash('sha256');
  const tar = pack();
  // Filling and draining run side by side; a failure of one ends the other.
  const [sizes] = await Promise.all([
    drain(tar, { plain, packed }, compression, createWriteStream(path)),
    addFiles(tar, recipe).then(() => tar.finalize()),
  ]);
  const digest = packed.digest('hex');
  await rename(path, join(blobs, digest));
  return { diffId: `sha256:${plain.digest('hex')}`, digest: `sha256:${digest}`, ...sizes };
}

async function drain(
  tar: Pack,
  { plain, packed }: { readonly plain: Hash; readonly packed: Hash },
  compression: LayerCompression,
  file: Writable,
): Promise<{ size: number; tarSize: number }> {
  const tarSize = { bytes: 0 };
  const size = { bytes: 0 };
  const source = Readable.from(tar);
  const sink = counted(packed, size);
  if (compression.kind === 'gzip') {
    const gzip = createGzip({ level: compression.level, chunkSize: PIECE });
    await pipeline(source, counted(plain, tarSize), gzip, sink, file);
  } else {
    await pipeline(source, counted(plain, tarSize), zstdOf(compression.level), sink, file);
  }
  return { size: size.bytes, tarSize: tarSize.bytes };
}

/** Hashes and counts what passes. */
function counted(hash: Hash, count: { bytes: number }) {
  return async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      hash.update(chunk);
      count.bytes += chunk.length;
      yield chunk;
    }
  };
}

/** One zstd frame; by the pinned library, because node:zlib has no zstd before Node 22.15. */
function zstdOf(level: number) {
  return async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const zstd = await Zstd.load();
    zstd.reset();
    zstd.setCompressionLevel(level);
    for await (const chunk of source) yield Buffer.from(zstd.compressChunk(chunk));
    yield Buffer.from(zstd.compressEnd());
  };
}

async function addFiles(tar: Pack, { seed, mix, scale, prefix = '' }: LayerRecipe): Promise<void> {
  const random = new Random(seed);
  const buffer = Buffer.alloc(PIECE);
  for (const group of mix) {
    const count = Math.max(1, Math.round(group.count * scale));
    for (let index = 0; index < count; index++) {
      const [least, most] = group.size;
      const share = random.below(1 << 20) / (1 << 20);
      const size = least + Math.floor(share * share * (most - least));
      const name = `${prefix}${group.directory}/${index % 97}/file-${index}`;
      const scaled = Math.ceil(size * Math.min(1, scale * group.count));
      await addFile(tar, { name, size: scaled, kind: group.kind }, random, buffer);
    }
  }
}

async function addFile(
  tar: Pack,
  { name, size, kind }: { readonly name: string; readonly size: number; readonly kind: ContentKind },
  random: Random,
  buffer: Buffer,
): Promise<void> {
  const entry = tar.entry({ name, size, mtime: MTIME, mode: 0o644 });
  for (let left = size; left > 0; left -= PIECE) {
    const piece = buffer.subarray(0, Math.min(left, PIECE));
    fill(piece, kind, random);
    // The stream keeps what it is given, and the buffer is filled again.
    if (!entry.write(Buffer.from(piece))) await new Promise<void>((resolve) => entry.once('drain', () => resolve()));
  }
  entry.end(undefined);
}
