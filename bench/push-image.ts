/** Copies an image from one target to another, with what its index-only layers point into. */

import type { Descriptor } from '../oci/descriptor.ts';
import { loadManifest } from '../oci/document.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import type { Target } from '../oci/storage.ts';

/** Copies the image that `tag` names, and the layers of the image under `base`, to `to` under the same tag. */
export async function pushImage(from: Target, to: Target, tag: string, base: string): Promise<void> {
  const [source, image] = [await from.resolve(base), await from.resolve(tag)];
  const layers = await manifestOf(from, source).then((manifest) => manifest.layers);
  const { config, layers: own } = await manifestOf(from, image);
  for (const blob of [...layers, config, ...own]) await copy(from, to, blob);
  await copy(from, to, image);
  await to.tag(image, tag);
}

async function manifestOf(target: Target, descriptor: Descriptor): Promise<ImageManifest> {
  return loadManifest(target, descriptor);
}

async function copy(from: Target, to: Target, { mediaType, digest, size }: Descriptor): Promise<void> {
  const descriptor = { mediaType, digest, size };
  await to.push(descriptor, {
    async *open() {
      yield* await from.fetch(descriptor);
    },
  });
}
