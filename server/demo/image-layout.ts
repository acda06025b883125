/** OCI layouts with an image of given layers, for tests. */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pieceListOfBytes } from '../../formats/piece-list/piece-hasher.ts';
import { PIECE_LIST_ANNOTATION } from '../../formats/piece-list/piece-list.ts';

/** An image in a layout. */
export interface MadeImage {
  readonly manifest: string;
  /** Digest and size of each layer. */
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
}

/**
 * Writes a layout with one image, tagged `latest`, whose layers hold these bytes; they need be no tars. With `pieceLists` each
 * layer names the list of its piece hashes, as those of `accel convert` do.
 */
export async function writeImageLayout(
  folder: string,
  layers: readonly Buffer[],
  { pieceLists = false }: { readonly pieceLists?: boolean } = {},
): Promise<MadeImage> {
  await mkdir(join(folder, 'blobs/sha256'), { recursive: true });
  const put = async (bytes: Buffer) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(folder, 'blobs/sha256', hex), bytes);
    return { digest: `sha256:${hex}`, size: bytes.length };
  };
  const written = await Promise.all(layers.map(put));
  const annotations = await Promise.all(
    layers.map(async (layer) => {
      const list = pieceLists ? await put(Buffer.from(pieceListOfBytes(layer))) : undefined;
      return list === undefined ? {} : { annotations: { [PIECE_LIST_ANNOTATION]: list.digest } };
    }),
  );
  const config = await put(
    Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        rootfs: { type: 'layers', diff_ids: written.map(({ digest }) => digest) },
      }),
    ),
  );
  const manifest = await put(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
        layers: written.map((layer, i) => ({
          mediaType: 'application/vnd.oci.image.layer.v1.tar',
          ...layer,
          ...annotations[i],
        })),
      }),
    ),
  );
  const entry = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    ...manifest,
    annotations: { 'org.opencontainers.image.ref.name': 'latest' },
  };
  await writeFile(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  await writeFile(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return { manifest: manifest.digest, layers: written };
}
