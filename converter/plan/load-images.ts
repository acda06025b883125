/** Loads the images of a selection and skips, with a reason, entries that are not images or whose content is missing. */
import { awaitAll, Limiter } from '../../base/limiter.ts';
import type { ImageConfig } from '../../oci/config.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { loadImageConfig, loadManifest, type NamedDocument, unlessMissing } from '../../oci/document.ts';
import { artifactReason, type IndexImages, indexImages, NOT_HERE } from '../../oci/index-images.ts';
import type { ImageManifest } from '../../oci/manifest.ts';
import { isNonDistributableLayer } from '../../oci/media-types.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { inRegistry } from '../../oci/powers.ts';
import type { PlanSession } from '../session.ts';
import {
  checkHere,
  checkPlatform,
  distinct,
  type Selection,
  selectManifests,
  withoutSkipped,
} from './select-manifests.ts';
import { loadSourceImage, type SourceImage } from './source-image.ts';

/** The images to convert. */
export interface LoadedImages {
  readonly selection: Selection;
  /** In the order of the index, each once however often it is listed. */
  readonly images: readonly SourceImage[];
}

/** Selects and loads the images of a source. Throws what {@link selectManifests} and {@link loadSourceImage} throw. */
export async function loadImages(session: PlanSession, source: NamedDocument): Promise<LoadedImages> {
  const { request, signal } = session;
  const { document, descriptor } = source;
  const options = { signal, maxLayerSize: request.artifact.maxLayerSize };
  if (document.kind === 'manifest') {
    const image = await loadSourceImage(session.source, descriptor, { ...options, manifest: document.manifest });
    checkPlatform(image, request.platforms);
    return { selection: { manifests: [descriptor], skipped: [] }, images: [image] };
  }
  const listed: IndexImages = await indexImages(session.source, document.index, { signal });
  const selected = selectManifests(source, listed, request.platforms);
  const limiter = new Limiter(request.concurrency);
  const loading = distinct(selected.manifests).map((one) =>
    limiter.run(async () => {
      const found = await documentsOf(session, one);
      if (typeof found === 'string') return leftOut(one, found);
      return loadSourceImage(session.source, one, { ...options, ...found });
    }),
  );
  const loaded = await awaitAll(loading);
  const images = loaded.filter((one) => !('reason' in one)) as SourceImage[];
  const selection = withoutSkipped(
    source,
    selected,
    loaded.filter((one) => 'reason' in one),
  );
  checkHere(source, images, request.platforms);
  return { selection, images };
}

/** The documents of an image that can be read; else the reason to leave it out. */
async function documentsOf(
  { source, signal }: PlanSession,
  descriptor: Descriptor,
): Promise<{ readonly manifest: ImageManifest; readonly config: ImageConfig } | string> {
  const manifest = await unlessMissing(() => loadManifest(source, descriptor, { signal }));
  if (manifest === undefined) return NOT_HERE;
  // A layout or archive may hold some platforms of an index; a registry takes no manifest without its blobs.
  if (inRegistry(source) === undefined) {
    for (const blob of [manifest.config, ...manifest.layers])
      if (!isNonDistributableLayer(blob.mediaType) && !(await source.exists(blob, { signal }))) return NOT_HERE;
  }
  const config = await loadImageConfig(source, manifest, { signal });
  return config === undefined ? artifactReason(manifest) : { manifest, config };
}

function leftOut({ digest, platform }: Descriptor, reason: string) {
  return { digest, platform: formatPlatform(platform ?? {}), reason, missing: reason === NOT_HERE };
}
