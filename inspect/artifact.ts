/** Describes manifests that are not images: the record of layers by its entries, other artifacts by their type. */
import { isRecord } from '../base/is-record.ts';
import { LAYER_RECORD } from '../formats/overlaybd/annotations.ts';
import { fetchBytes } from '../oci/content.ts';
import { type ImageManifest, parseObject } from '../oci/manifest.ts';
import { isConfig } from '../oci/media-types.ts';
import type { ReadOptions, Target } from '../oci/storage.ts';
import type { ArtifactFacts } from './facts.ts';

/** Bytes of a record that are read. */
const MAX_RECORD = 8 << 20;

/** The artifact that a manifest is; undefined for an image. */
export async function artifactOf(
  target: Target,
  { artifactType, config, layers }: ImageManifest,
  options: ReadOptions,
): Promise<ArtifactFacts | undefined> {
  const [layer] = layers;
  if (layer?.mediaType === LAYER_RECORD.mediaType) {
    const record = parseObject(await fetchBytes(target, layer, MAX_RECORD, options), MAX_RECORD, {});
    const entries = isRecord(record.layers) ? Object.values(record.layers).filter(isRecord) : [];
    return {
      type: LAYER_RECORD.mediaType,
      record: {
        full: entries.filter(({ kind }) => kind === 'full').length,
        indexOnly: entries.filter(({ kind }) => kind === 'index-only').length,
        notIndexable: entries.filter(({ notIndexable }) => notIndexable !== undefined).length,
        withCode: entries.filter(({ mac }) => typeof mac === 'string').length,
      },
    };
  }
  if (isConfig(config.mediaType) || artifactType === undefined) return undefined;
  return { type: artifactType };
}
