/** Groups the layers of the source that become one layer of the result. */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import type { ImageManifest } from '../../oci/manifest.ts';
import type { ConvertRequest } from '../options.ts';

/** Neighbouring layers of the source that become one layer of the result. */
export interface LayerGroup {
  /** Position of the lowest one in the source, 0 = lowest. */
  readonly first: number;
  /** Number of layers; more than one are flattened. */
  readonly count: number;
}

/**
 * Groups the layers of a source, lowest first: each for itself, and with `flattenAbove` all above the lowest that many
 * together. A single layer that is left above those is converted as it is, and so shared with other images.
 */
export function groupLayers(count: number, flattenAbove?: number): LayerGroup[] {
  const apart = Math.min(count, flattenAbove ?? count);
  const groups = Array.from({ length: apart }, (_, first) => ({ first, count: 1 }));
  return apart === count ? groups : [...groups, { first: apart, count: count - apart }];
}

/** The layers of the source that become one of the result, lowest first. */
export function sourcesOf(
  { manifest }: { readonly manifest: Pick<ImageManifest, 'layers'> },
  { first, count }: LayerGroup,
): readonly Descriptor[] {
  return manifest.layers.slice(first, first + count);
}

/** Whether several layers of the source become this one. */
export function isFlattened({ count }: LayerGroup): boolean {
  return count > 1;
}

/** The layers kept apart below a flattened one; undefined where nothing is flattened. */
export function flattenedAbove(groups: readonly LayerGroup[]): number | undefined {
  const top = groups.at(-1);
  return top !== undefined && isFlattened(top) ? top.first : undefined;
}

/**
 * Chain IDs of the groups by those of the source's layers. A flattened layer has one of its own: the blocks below it and
 * in it are others than those of the top layer of an ordinary conversion.
 */
export function groupChain(chain: readonly string[], groups: readonly LayerGroup[]): string[] {
  return groups.map((group) => {
    const top = chain[group.first + group.count - 1]!;
    return isFlattened(group) ? digestOf(Buffer.from(`flattened above ${group.first} ${top}`)) : top;
  });
}

/** Throws `usage` for a request to flatten an index-only image, or above an odd number of layers. */
export function checkFlatten({
  artifact: { flattenAbove: above },
  outputs,
}: Pick<ConvertRequest, 'artifact' | 'outputs'>): void {
  if (above === undefined) return;
  if (!Number.isSafeInteger(above) || above < 0) {
    throw new AccelError('usage', 'not a number of layers to keep below a flattened one', {
      expected: 'a whole number, 0 or more',
      found: above,
    });
  }
  const indexOnly = outputs.find(({ kind }) => kind === 'index-only');
  if (indexOnly === undefined) return;
  throw new AccelError('usage', 'an index-only image cannot be flattened', {
    where: { tag: indexOnly.tag },
    expected: 'the full mode: an index-only layer refers to one source layer, and a flattened one has data of several',
    hint: advise`Leave out ${option('flatten')}, or convert in full mode (${option('mode', 'full')}).`,
  });
}
