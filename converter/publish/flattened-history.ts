/** The history of an image with a flattened layer. */
import type { HistoryEntry, ImageConfig } from '../../oci/config.ts';

/**
 * Marks the steps whose layers are in the flattened one as without a layer, all but the last of them: runtimes expect as
 * many steps with a layer as there are diff_ids. `above` layers below keep theirs. A history that does not fit the layers
 * of the source stays as it is.
 */
export function flattenHistory({ history, rootfs }: ImageConfig, above: number): ImageConfig['history'] {
  if (!history) return history;
  const steps = history.filter(hasLayer).length;
  if (steps !== rootfs.diff_ids.length) return history;
  let step = 0;
  return history.map((entry) => {
    if (!hasLayer(entry)) return entry;
    step++;
    return step <= above || step === steps ? entry : { ...entry, empty_layer: true };
  });
}

function hasLayer(entry: HistoryEntry | null): boolean {
  return entry?.empty_layer !== true;
}
