/** Makes an image of generated layers as an OCI layout, once: an existing one is used again. */
import { createHash } from 'node:crypto';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type LayerCompression, type LayerFacts, type LayerRecipe, writeLayer } from './write-layer.ts';

/** An image to generate. */
export interface ImageRecipe {
  /** Folder of its layout; it names everything that decides the bytes, because an existing folder is not inspected. */
  readonly folder: string;
  /** Lowest first. */
  readonly layers: readonly LayerRecipe[];
  /** gzip -6 unless given. */
  readonly compression?: LayerCompression;
}

/** Prefix of every folder that the benchmarks leave in a work directory. */
export const FOLDER_PREFIX = 'accel-bench-';

/** The OCI layout with the generated image under the tag `latest`, made in `directory` if it is not there yet. */
export async function makeImage(directory: string, recipe: ImageRecipe): Promise<string> {
  const layout = join(directory, `${FOLDER_PREFIX}${recipe.folder}`);
  const finished = await access(layout).then(
    () => true,
    () => false,
  );
  if (finished) return layout;
  // Made under another name and renamed at the end, so that an existing layout is always complete.
  const unfinished = `${layout}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  const blobs = join(unfinished, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const compression = recipe.compression ?? { kind: 'gzip', level: 6 };
  const layers: LayerFacts[] = [];
  for (const layer of recipe.layers) layers.push(await writeLayer(blobs, layer, compression));
  await writeDocuments(unfinished, blobs, layers, compression);
  await rename(unfinished, layout);
  return layout;
}

async function writeDocuments(
  layout: string,
  blobs: string,
  layers: readonly LayerFacts[],
  compression: LayerCompression,
): Promise<void> {
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
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map(() => ({ created_by: 'bench/make-image.ts' })),
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const layerType = `application/vnd.oci.image.layer.v1.tar+${compression.kind}`;
  const manifest = await put(mediaType, {
    schemaVersion: 2,
    mediaType,
    config,
    layers: layers.map(({ digest, size }) => ({ mediaType: layerType, digest, size })),
  });
  const index = {
    schemaVersion: 2,
    manifests: [{ ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } }],
  };
  await writeFile(join(layout, 'index.json'), JSON.stringify(index));
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  // Beside the layout's own files: the sizes of the tars, which nothing else in the layout records.
  await writeFile(join(layout, 'tar-sizes.json'), JSON.stringify(layers.map(({ tarSize }) => tarSize)));
}
