/**
 * Verification: the accelerated image, read through its own index as a node reads it, against what the layers of its
 * source say by a walk that shares no code with the conversion.
 */
import { withPlace } from '../base/error.ts';
import { Ext4Reader } from '../formats/ext4/reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Target } from '../oci/storage.ts';
import type { AcceleratedImage } from '../reader/accelerated-image.ts';
import type { OpenedLayer } from '../reader/layer.ts';
import { compareBlobs, compareSourceBlobs } from './blobs.ts';
import { compareAcceleration } from './compare-acceleration.ts';
import { compareAccessPoints, PointProbe } from './compare-access-points.ts';
import { compareContents } from './compare-content.ts';
import { comparePieceLists } from './compare-piece-lists.ts';
import { compareTrees } from './compare-tree.ts';
import { loadSourceImage, readSourceTree, type SourceImage } from './source-tree/build-tree.ts';
import type { SourceNode } from './source-tree/node.ts';
import { compareStructure, type LayerPairs, layerName } from './structure.ts';
import {
  DifferenceLog,
  damageText,
  NOT_COMPARED_QUICKLY,
  type VerifyProgress,
  type VerifyReport,
} from './verify-report.ts';

export type { Difference, VerifyProgress, VerifyReport } from './verify-report.ts';

/** The source of an accelerated image. */
export interface VerifySource {
  readonly target: Target;
  /** Of the source's manifest (not of an index). */
  readonly descriptor: Descriptor;
}

/** Options of {@link verifyImage}. */
export interface VerifyOptions {
  /** Leave content alone: compare documents, indexes and everything that a path has but its bytes. */
  readonly quick?: boolean;
  /** Bytes that a source layer may have, uncompressed; 256 GiB unless given. */
  readonly maxLayerSize?: number;
  /** The target of the accelerated image; by default that of its source. */
  readonly target?: Target;
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Compares an open accelerated image with its source. Differences, damaged bytes among them, are what the report is
 * for; rejects only when the comparison cannot be made: the source is gone or damaged, the registry does not answer.
 */
export async function verifyImage(
  image: AcceleratedImage,
  { target: sourceTarget, descriptor }: VerifySource,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  const { signal } = options;
  const target = options.target ?? sourceTarget;
  const quick = options.quick ?? false;
  const progress = options.onProgress ?? (() => undefined);
  const log = new DifferenceLog();
  const source = await loadSourceImage(sourceTarget, descriptor, { signal }).catch(sourceError);
  const layers = compareStructure(image, source, log);
  await compareSourceBlobs({ target, signal }, image, layers, log);
  const notes = await compareAcceleration(target, image, log, { signal });
  const pieces = await comparePieceLists(target, image, log, { signal });
  if (!quick) {
    const total = image.layers.reduce((sum, layer) => sum + layer.size, 0);
    const onRead = counter(progress, 'layers', total);
    await compareBlobs(target, image, log, { signal, onRead, lists: pieces.lists });
  }
  const probes = quick ? [] : probesOf(layers);
  const tree = await readSourceTree(sourceTarget, source.manifest, {
    signal,
    hashContent: !quick,
    diffIds: source.config.rootfs.diff_ids,
    ...(options.maxLayerSize === undefined ? {} : { maxLayerSize: options.maxLayerSize }),
    observe: (index) => {
      const probe = probes.find(({ sourceIndex }) => sourceIndex === index)?.probe;
      return probe && ((chunk) => probe.update(chunk));
    },
    onRead: counter(progress, 'source', sizeOf(source)),
  }).catch(sourceError);
  tree.layers.forEach(({ diffId }, i) => {
    const stated = source.config.rootfs.diff_ids[i] ?? 'nothing';
    if (diffId !== undefined) log.image(`source layer ${i + 1}`, 'diff_id', stated, diffId);
  });
  for (const { layer, source: descriptor, probe } of probes)
    await compareAccessPoints(layerName(layer, image), probe, { fetcher: target, descriptor, signal }, log);
  const compared = await compareDevice(image, tree.root, log, options);
  return {
    platform: image.platform,
    digest: image.descriptor.digest,
    sourceDigest: source.descriptor.digest,
    quick,
    notCompared: quick ? NOT_COMPARED_QUICKLY : [],
    differences: log.kept,
    differenceCount: log.count,
    warnings: [...layers.warnings, ...notes, ...pieces.warnings, ...tree.warnings],
    compared: { ...compared, layers: image.layers.length },
    traffic: image.statistics(),
  };
}

interface LayerProbe {
  readonly layer: OpenedLayer;
  readonly sourceIndex: number;
  readonly source: Descriptor;
  readonly probe: PointProbe;
}

function probesOf({ pairs }: LayerPairs): LayerProbe[] {
  return pairs.flatMap(({ layer, source, sourceIndex }) =>
    source === undefined || layer.gzipIndex === undefined
      ? []
      : [{ layer, source, sourceIndex, probe: new PointProbe(layer.gzipIndex) }],
  );
}

async function compareDevice(
  image: AcceleratedImage,
  root: SourceNode,
  log: DifferenceLog,
  options: VerifyOptions,
): Promise<{ readonly paths: number; readonly files: number; readonly bytes: number }> {
  const progress = options.onProgress ?? (() => undefined);
  let fs: Ext4Reader;
  try {
    fs = await Ext4Reader.open(image.device);
  } catch (error) {
    log.tree('/', 'file system', 'readable', damageText(error));
    return { paths: 0, files: 0, bytes: 0 };
  }
  const { paths, contents } = await compareTrees(fs, root, log, (done) => {
    options.signal?.throwIfAborted();
    progress({ stage: 'tree', done, total: 0 });
  });
  const bytes = await compareContents(
    {
      fs,
      device: image.device,
      attributes: (node) => root.node(node).attributes,
      signal: options.signal,
      onFile: counter(progress, 'content', contents.bytes),
    },
    contents,
    log,
  );
  return { paths, files: contents.count, bytes };
}

function counter(
  progress: (progress: VerifyProgress) => void,
  stage: VerifyProgress['stage'],
  total: number,
): (bytes: number) => void {
  let done = 0;
  return (bytes) => {
    done += bytes;
    progress({ stage, done, total });
  };
}

function sizeOf({ manifest }: SourceImage): number {
  return manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
}

/** Without its source nothing can be said of an image. */
function sourceError(error: unknown): never {
  throw withPlace(error, { of: 'the source image' });
}
