/** The image that the lab pulls: gzip layers that do not compress, so that its size is known. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { pieceListOfBytes } from '../../formats/piece-list/piece-hasher.ts';
import { PIECE_LIST_ANNOTATION } from '../../formats/piece-list/piece-list.ts';

/** An image as it was made. */
export interface LabImage {
  /** Bytes of its manifest, config and layers. */
  readonly bytes: number;
  /** Digests of its layers. */
  readonly layers: readonly string[];
}

/**
 * Writes an OCI layout that holds one image, tagged `latest`. With `forgedLists` each layer names a list of piece hashes that are
 * those of other bytes.
 */
export async function makeImage(
  folder: string,
  bytes: number,
  layerCount: number,
  { forgedLists = false }: { readonly forgedLists?: boolean } = {},
): Promise<LabImage> {
  await mkdir(join(folder, 'blobs/sha256'), { recursive: true });
  let total = 0;
  const put = async (content: Buffer) => {
    const hex = createHash('sha256').update(content).digest('hex');
    await writeFile(join(folder, 'blobs/sha256', hex), content);
    total += content.length;
    return { digest: `sha256:${hex}`, size: content.length };
  };
  const layers = [];
  const diffIds = [];
  for (let layer = 0; layer < layerCount; layer++) {
    const tar = await tarOf(`data/layer-${layer}.bin`, randomBytes(Math.floor(bytes / layerCount)));
    diffIds.push(`sha256:${createHash('sha256').update(tar).digest('hex')}`);
    const content = gzipSync(tar, { level: 1 });
    const list = forgedLists ? await put(Buffer.from(pieceListOfBytes(randomBytes(content.length)))) : undefined;
    layers.push({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      ...(await put(content)),
      ...(list === undefined ? {} : { annotations: { [PIECE_LIST_ANNOTATION]: list.digest } }),
    });
  }
  const config = await put(
    Buffer.from(
      JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: diffIds } }),
    ),
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const document = {
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers,
  };
  const manifest = await put(Buffer.from(JSON.stringify(document)));
  const entry = { mediaType, ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } };
  await writeFile(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  await writeFile(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return { bytes: total, layers: layers.map(({ digest }) => digest) };
}

async function tarOf(name: string, content: Buffer): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name, mtime: new Date(0) }, content);
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
