/** Checks that a node recognizes the acceleration layer and understands its content (docs/formats.md §7). */
import { asAccelError } from '../base/error.ts';
import { MAX_LIST_SIZE } from '../formats/prefetch/layout.ts';
import type { Fetcher, ReadOptions } from '../oci/storage.ts';
import { readCarriedPrefetch } from '../prefetch/carried.ts';
import { describePrefetch } from '../prefetch/describe.ts';
import { someOf } from '../prefetch/lines.ts';
import type { AcceleratedImage } from '../reader/accelerated-image.ts';
import { compareDescriptor, layerName } from './structure.ts';
import { type DifferenceLog, damageText } from './verify-report.ts';

/** Compares and reads the acceleration layer, if there is one. Returns warnings that are not differences. */
export async function compareAcceleration(
  fetcher: Fetcher,
  image: AcceleratedImage,
  log: DifferenceLog,
  options: ReadOptions,
): Promise<string[]> {
  const layers = image.layers.filter(({ kind }) => kind === 'acceleration');
  for (const layer of layers) {
    compareDescriptor(layer, image, log);
    const place = layer.index === image.layers.length - 1 ? 'the topmost layer' : 'below other layers';
    log.image(layerName(layer, image), 'place of the acceleration layer', 'the topmost layer', place);
  }
  const top = layers.at(-1);
  if (top === undefined) return [];
  const name = layerName(top, image);
  try {
    const carried = await readCarriedPrefetch(fetcher, image.manifest.layers, options);
    if (carried === undefined) return [];
    const facts = await describePrefetch(image, carried.content, options.signal);
    const size = `a list of ${carried.trace.length} bytes`;
    log.image(name, 'prefetch list', facts.read ? size : `at most ${MAX_LIST_SIZE} bytes`, size);
    log.image(name, 'reads outside of their layers', '0', String(facts.outside));
    const { skipped, missing } = facts;
    return [
      ...(skipped.length > 0 ? [`a node skips lines of the prefetch list: ${someOf(skipped)}`] : []),
      ...(missing.length > 0 ? [`the prefetch list names what is not in the image: ${someOf(missing)}`] : []),
    ];
  } catch (error) {
    // A missing blob is reported by the check of all blobs.
    if (asAccelError(error).code !== 'not-found') log.image(name, 'trace', 'readable', damageText(error));
    return [];
  }
}
