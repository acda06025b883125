/** Computes the size of an image for tools that do not read it lazily. */
import type { AcceleratedImage } from './accelerated-image.ts';

/** Bytes of manifest, config and all layers, and of the source layers that index-only layers point into. */
export function imageSize({ descriptor, manifest, layers }: AcceleratedImage): number {
  const sources = new Map(layers.map(({ source }) => [source?.digest, source?.size ?? 0]));
  const own = layers.reduce((sum, layer) => sum + layer.size, descriptor.size + manifest.config.size);
  return [...sources.values()].reduce((sum, size) => sum + size, own);
}
