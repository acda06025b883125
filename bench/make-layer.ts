/** Makes the image that the benchmarks convert: one layer of generated files, compressed by gzip -6, in an OCI layout. */
import { createHash, type Hash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { type Pack, pack } from 'tar-stream';
import { type ContentKind, fill, Random } from './content.ts';

/** A group of like files in the generated layer. */
interface FileGroup {
  readonly directory: string;
  readonly kind: ContentKind;
  readonly count: number;
  /** Bytes of the smallest and the largest file; sizes in between are even more often small than large. */
  readonly size: readonly [least: number, most: number];
}

/** The mix: what the layer of a language runtime with its packages and a model looks like to a converter. */
const MIX: readonly FileGroup[] = [
  { directory: 'usr/lib', kind: 'binary', count: 500, size: [16_384, 2_500_000] },
  { directory: 'usr/share/text', kind: 'text', count: 3_000, size: [1_000, 120_000] },
  { directory: 'usr/lib/modules', kind: 'text', count: 20_000, size: [60, 14_000] },
  { directory: 'opt/media', kind: 'noise', count: 60, size: [500_000, 5_000_000] },
  { directory: 'opt/model', kind: 'binary', count: 3, size: [100_000_000, 100_000_001] },
  { directory: 'var/lib/zeros', kind: 'zeros', count: 4, size: [5_000_000, 20_000_000] },
];

/** Content is generated and handed to tar in pieces of this many bytes. */
const PIECE = 1 << 20;

/** Every time in the generated layer, 2024-01-01. */
const MTIME = new Date(1_704_067_200_000);

/**
 * The OCI layout with the generated image under the tag `latest`, made in `directory` if it is not there yet. At scale
 * 1 the tar is about 1.1 GB; a smaller scale has fewer files of the same kinds.
 */
export async function makeLayer(directory: string, scale = 1): Promise<string> {
  const layout = join(directory, `generated-1-scale-${scale}`);
  const finished = await access(layout).then(
    () => true,
    () => false,
  );
  if (finished) return layout;
  // Made beside its place and moved there at the end, so that what stands there is whole.
  const unfinished = `${layout}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  const blobs = join(unfinished, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const { diffId, digest, size } = await writeLayer(blobs, scale);
  await writeDocuments(unfinished, blobs, { diffId, digest, size });
  await rename(unfinished, layout);
  return layout;
}

interface LayerFacts {
  readonly diffId: string;
  readonly digest: string;
  readonly size: number;
}

async function writeLayer(blobs: string, scale: number): Promise<LayerFacts> {
  const path = join(blobs, 'layer');
  const plain = createHash('sha256');
  const packed = createHash('sha256');
  const tar = pack();
  // Filling and draining run side by side; a failure of one ends the other.
  const [size] = await Promise.all([
    drain(tar, plain, packed, createWriteStream(path)),
    addFiles(tar, scale).then(() => tar.finalize()),
  ]);
  const digest = packed.digest('hex');
  await rename(path, join(blobs, digest));
  return { diffId: `sha256:${plain.digest('hex')}`, digest: `sha256:${digest}`, size };
}

async function drain(tar: Pack, plain: Hash, packed: Hash, file: Writable): Promise<number> {
  let size = 0;
  await pipeline(
    Readable.from(tar),
    async function* (source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        plain.update(chunk);
        yield chunk;
      }
    },
    createGzip({ level: 6, chunkSize: PIECE }),
    async function* (source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        packed.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    },
    file,
  );
  return size;
}

async function addFiles(tar: Pack, scale: number): Promise<void> {
  const random = new Random(20_260_801);
  const buffer = Buffer.alloc(PIECE);
  for (const group of MIX) {
    const count = Math.max(1, Math.round(group.count * scale));
    for (let index = 0; index < count; index++) {
      const [least, most] = group.size;
      const share = random.below(1 << 20) / (1 << 20);
      const size = least + Math.floor(share * share * (most - least));
      const name = `${group.directory}/${index % 97}/file-${index}`;
      await addFile(tar, name, Math.ceil(size * Math.min(1, scale * group.count)), group.kind, random, buffer);
    }
  }
}

async function addFile(
  tar: Pack,
  name: string,
  size: number,
  kind: ContentKind,
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

async function writeDocuments(layout: string, blobs: string, layer: LayerFacts): Promise<void> {
  const put = async (mediaType: string, document: unknown) => {
    const bytes = Buffer.from(JSON.stringify(document));
    const hex = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const config = await put('application/vnd.oci.image.config.v1+json', {
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    history: [{ created_by: 'bench/make-layer.ts' }],
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await put(mediaType, {
    schemaVersion: 2,
    mediaType,
    config,
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: layer.digest, size: layer.size }],
  });
  const index = {
    schemaVersion: 2,
    manifests: [{ ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } }],
  };
  await writeFile(join(layout, 'index.json'), JSON.stringify(index));
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}
