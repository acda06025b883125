/** Restores the state of the file system from the layers that were converted before. */
import { randomInt } from 'node:crypto';
import { Ext4Image } from '../../formats/ext4/ext4-image.ts';
import { loadImage } from '../../formats/ext4/load-image.ts';
import type { HashKey } from '../../formats/ext4/state/keyed-hash.ts';
import type { MemoryBudget } from '../../formats/ext4/state/memory-budget.ts';
import { layerMediaType } from '../../oci/media-types.ts';
import { openStack } from '../../reader/stack.ts';
import type { CachedLayer } from '../publish/output-manifest.ts';
import type { ImageJob } from './image-job.ts';

/** The state that the next layer is applied to: empty, or read back from the metadata of `layers`. */
export async function restoreState(
  { session, virtualSize }: ImageJob,
  layers: readonly CachedLayer[],
  memory: MemoryBudget,
): Promise<Ext4Image> {
  const bounds = { maxFiles: session.request.artifact.maxFiles, memory, hashKey: randomKey() };
  if (layers.length === 0) return new Ext4Image({ virtualSize, ...bounds });
  // Index-only blobs hold nothing but metadata: they are read whole, and small. A full layer among them serves as well.
  const bottomIsIndexed = layers[0]?.index !== undefined;
  const stack = layers.map(({ full, index }) => (bottomIsIndexed ? (index ?? full) : full)!);
  const device = await openStack(
    session.target,
    stack.map((blob) => ({ mediaType: layerMediaType('oci', blob.compression), ...blob })),
    { signal: session.signal },
  );
  return loadImage(device, bounds);
}

/** A random key for the table of names, so that nobody can prepare names that collide in it. No bytes depend on it. */
function randomKey(): HashKey {
  return [randomInt(2 ** 32), randomInt(2 ** 32)];
}
