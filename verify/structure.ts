/**
 * Compares what the accelerated image's documents say with what its source's say, and with what its layers turned out
 * to be when they were opened (docs/formats.md §3 to §5, §7).
 */
import { isDeepStrictEqual } from 'node:util';
import { MAX_INDEX_ENTRIES, MAX_LAYERS } from '../formats/lsmt/layout.ts';
import { LAYER_ANNOTATION, LAYER_VERSION, RECORD_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { brief, type Descriptor } from '../oci/descriptor.ts';
import { layerCompression, layerMediaType, mediaFamily } from '../oci/media-types.ts';
import type { AcceleratedImage } from '../reader/accelerated-image.ts';
import type { OpenedLayer } from '../reader/layer.ts';
import type { SourceImage } from './source-tree/build-tree.ts';
import type { DifferenceLog } from './verify-report.ts';

/** An accelerated layer and the source layer that it stands for. */
export interface LayerPair {
  readonly layer: OpenedLayer;
  readonly source: Descriptor | undefined;
  /** Place of the source layer, 0 = lowest. */
  readonly sourceIndex: number;
}

/** The layers of an image in pairs. */
export interface LayerPairs {
  /** Of the layers with files, lowest first. */
  readonly pairs: readonly LayerPair[];
  /** Warnings that are not differences. */
  readonly warnings: readonly string[];
}

/** The name of a layer in messages. */
export function layerName({ index }: Pick<OpenedLayer, 'index'>, image: AcceleratedImage): string {
  return `layer ${index + 1} of ${image.layers.length}`;
}

/** Everything that needs no further reading. */
export function compareStructure(image: AcceleratedImage, source: SourceImage, log: DifferenceLog): LayerPairs {
  const { pairs, warnings } = pairLayers(image, source, log);
  const record = compareRecord(image, source, log);
  if (record === undefined) warnings.push('the image does not say what it was made from; the given source was taken');
  if (pairs.length > MAX_LAYERS) log.image('manifest', 'layers', `at most ${MAX_LAYERS}`, String(pairs.length));
  const [bottom] = pairs;
  const virtualSize = bottom?.layer.lsmt?.virtualSize;
  for (const { layer, source: from } of pairs) {
    compareDescriptor(layer, image, log);
    const name = layerName(layer, image);
    log.image(name, 'virtual size', String(virtualSize), String(layer.lsmt?.virtualSize));
    if (layer.segments > MAX_INDEX_ENTRIES)
      log.image(name, 'segments', `at most ${MAX_INDEX_ENTRIES}`, String(layer.segments));
    if (layer.kind === 'index-only' && bottom?.layer.kind !== 'index-only')
      log.image(name, 'kind', 'full, because the lowest layer is', 'index-only');
    if (layer.kind === 'index-only') compareTarget(layer, from, image, log);
  }
  compareConfig(image, source, log);
  return { pairs, warnings };
}

function pairLayers(
  image: AcceleratedImage,
  source: SourceImage,
  log: DifferenceLog,
): { readonly pairs: LayerPairs['pairs']; readonly warnings: string[] } {
  const stacked = image.layers.filter((layer) => layer.kind !== 'acceleration');
  const sources = source.manifest.layers;
  const foreign = image.manifest.annotations?.[RECORD_ANNOTATION.sourceDigest] === undefined;
  // The reference convertor may put the empty file system into a layer of its own, below all others.
  const added = foreign && stacked.length === sources.length + 1 ? 1 : 0;
  if (added === 0) log.image('manifest', 'layers', String(layersWanted(image, source)), String(stacked.length));
  const apart = flattenedAbove(image) ?? sources.length;
  return {
    // A flattened layer has no source of its own: what it holds is compared as part of the whole tree.
    pairs: stacked.map((layer, i) => ({
      layer,
      source: i - added < apart ? sources[i - added] : undefined,
      sourceIndex: i - added,
    })),
    warnings: added === 0 ? [] : ['the lowest layer stands for no layer of the source; it holds the empty file system'],
  };
}

/** Number of the source's layers that have layers of their own below a flattened one; undefined without such a layer. */
function flattenedAbove({ manifest }: AcceleratedImage): number | undefined {
  const text = manifest.annotations?.[RECORD_ANNOTATION.flattenedAbove];
  return text !== undefined && /^(?:0|[1-9]\d{0,8})$/.test(text) ? Number(text) : undefined;
}

/** Layers with files that an image of this source has. */
function layersWanted(image: AcceleratedImage, { manifest: { layers } }: SourceImage): number {
  return Math.min(layers.length, (flattenedAbove(image) ?? layers.length) + 1);
}

/** The source digest that the image records, if any; it must be the source's. */
function compareRecord({ manifest }: AcceleratedImage, source: SourceImage, log: DifferenceLog): string | undefined {
  const recorded = manifest.annotations?.[RECORD_ANNOTATION.sourceDigest];
  if (recorded !== undefined) log.image('manifest', 'source digest', source.descriptor.digest, recorded);
  if (manifest.subject !== undefined)
    log.image('manifest', 'subject', source.descriptor.digest, manifest.subject.digest);
  return recorded;
}

/** Compares what a layer's descriptor says of its blob with what it is. */
export function compareDescriptor(layer: OpenedLayer, image: AcceleratedImage, log: DifferenceLog): void {
  const { descriptor, kind } = layer;
  const name = layerName(layer, image);
  const annotation = (key: string): string => descriptor.annotations?.[key] ?? 'nothing';
  log.image(name, 'annotation blob-digest', descriptor.digest, annotation(LAYER_ANNOTATION.blobDigest));
  log.image(name, 'annotation blob-size', String(descriptor.size), annotation(LAYER_ANNOTATION.blobSize));
  const version = LAYER_VERSION[kind === 'index-only' ? kind : 'full'];
  log.image(name, 'annotation version', version, annotation(LAYER_ANNOTATION.version));
  const fsType = descriptor.annotations?.[LAYER_ANNOTATION.fsType];
  if (fsType !== undefined) log.image(name, 'annotation blob-fs-type', 'ext4', fsType);
  const compression = layerCompression(descriptor.mediaType) ?? descriptor.mediaType;
  // The reference does not compress an acceleration layer; containerd unpacks it either way.
  const isPlainAcceleration = kind === 'acceleration' && compression === 'none';
  if (!isPlainAcceleration)
    log.image(name, 'compression by media type', kind === 'full' ? 'none' : 'gzip', compression);
  // A full layer's blob is an uncompressed tar already; that of an acceleration layer is hashed when it is read.
  if (kind !== 'acceleration') compareDiffId(image, layer, layer.diffId ?? descriptor.digest, log);
}

/** Compares a layer's place in `rootfs.diff_ids` with the digest of its uncompressed blob. */
export function compareDiffId(image: AcceleratedImage, layer: OpenedLayer, diffId: string, log: DifferenceLog): void {
  const stated = image.config.rootfs.diff_ids[layer.index] ?? 'nothing';
  log.image('config', `diff_id of ${layerName(layer, image)}`, diffId, stated);
}

function compareTarget(
  layer: OpenedLayer,
  source: Descriptor | undefined,
  image: AcceleratedImage,
  log: DifferenceLog,
): void {
  const name = layerName(layer, image);
  const { annotations = {} } = layer.descriptor;
  log.image(
    name,
    'annotation target-digest',
    source?.digest ?? 'nothing',
    annotations[LAYER_ANNOTATION.targetDigest] ?? 'nothing',
  );
  log.image(
    name,
    'annotation target-media-type',
    source === undefined ? 'nothing' : contentType(source, layer),
    annotations[LAYER_ANNOTATION.targetMediaType] ?? 'nothing',
  );
  if (source === undefined || layer.gzipIndex === undefined) return;
  // A runtime refuses an index that names another size (docs/formats.md §5).
  log.image(name, 'gzip_file_size', String(source.size), String(layer.gzipIndex.compressedSize));
}

/** The media type of a source layer; where its compression is not that of the content, the content counts. */
function contentType({ mediaType }: Descriptor, { gzipIndex }: OpenedLayer): string {
  return layerMediaType(mediaFamily(mediaType), gzipIndex === undefined ? 'none' : 'gzip');
}

/** The config is the source's but for `rootfs.diff_ids`; an acceleration layer may have a history entry of its own. */
function compareConfig(image: AcceleratedImage, source: SourceImage, log: DifferenceLog): void {
  const { rootfs: foundRoot, history: foundHistory, ...found } = image.config;
  const { rootfs: root, history: sourceHistory, ...expected } = source.config;
  const history = historyWanted(image, source);
  for (const field of new Set([...Object.keys(expected), ...Object.keys(found)])) {
    if (!isDeepStrictEqual(expected[field], found[field]))
      log.image('config', field, brief(expected[field]), brief(found[field]));
  }
  log.image('config', 'diff_ids', String(image.layers.length), String(foundRoot.diff_ids.length));
  log.image('config', 'rootfs.type', brief(root.type), brief(foundRoot.type));
  const added = image.layers.length - layersWanted(image, source);
  const kept =
    added > 0 ? foundHistory?.filter((entry) => history?.some((one) => isDeepStrictEqual(one, entry))) : foundHistory;
  if (!isDeepStrictEqual(history, kept)) log.image('config', 'history', brief(history), brief(foundHistory));
  if (!foundHistory || !history) return;
  const steps = foundHistory.filter((entry) => entry?.empty_layer !== true).length;
  const sourceSteps = (sourceHistory ?? []).filter((entry) => entry?.empty_layer !== true).length;
  // A history that does not fit the source's layers either is the source's affair.
  if (sourceSteps === source.manifest.layers.length)
    log.image('config', 'history entries with a layer', String(image.layers.length), String(steps));
}

/** The source's history; of a flattened layer the last step alone counts as one with a layer. */
function historyWanted(image: AcceleratedImage, { config: { history }, manifest }: SourceImage): typeof history {
  const above = flattenedAbove(image);
  const withLayer = (history ?? []).flatMap((entry, i) => (entry?.empty_layer === true ? [] : [i]));
  if (!history || above === undefined || withLayer.length !== manifest.layers.length) return history;
  const inside = new Set(withLayer.slice(above, -1));
  return history.map((entry, i) => (inside.has(i) ? { ...entry, empty_layer: true } : entry));
}
